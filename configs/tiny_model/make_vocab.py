"""Makes vocab.txt: 600 WordPiece entries from the words of WNUT-17. Run from the repository root."""
import collections
import re
import string

words = collections.Counter()
for line in open("data/wnut17/train.conll", encoding="utf-8"):
    words.update(re.findall(r"[a-z0-9]+|[!-/:-@\[-`{-~]", line.split("\t")[0].lower()))
characters = string.ascii_lowercase + string.digits
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *characters, *("##" + c for c in characters)]
frequent = [w for w, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(w) > 1][:400]
endings = collections.Counter()
for word, count in words.items():
    if word not in frequent:
        endings.update({"##" + word[-n:]: count for n in (2, 3) if len(word) > n + 1})
vocabulary += frequent
vocabulary += [e for e, _ in sorted(endings.items(), key=lambda item: (-item[1], item[0]))][: 600 - len(vocabulary)]
assert len(vocabulary) == len(set(vocabulary)) == 600
open("configs/tiny_model/vocab.txt", "w").write("\n".join(vocabulary) + "\n")
