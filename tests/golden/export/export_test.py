"""A model directory written by fmtrain, loaded by Hugging Face transformers: equal logits.

    python export_test.py FMTRAIN SOURCE     exit 77: transformers is not installed

Trains the tiny model for a few steps with each head, then compares what `fmtrain predict` and `fmtrain eval` say with what
transformers computes from the same directory.
"""
import json
import math
import os
import subprocess
import sys
import tempfile

try:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer
except ImportError:
    print("transformers is not installed")
    sys.exit(77)

fmtrain, source = sys.argv[1:3]
TOLERANCE = 1e-5


def train(work, name, *settings):
    run = os.path.join(work, name)
    flags = [x for s in (f"run.dir={run}", "schedule.steps=20", "optimizer.lr=0.01", "report.bootstrap=0", *settings) for x in ("--set", s)]
    subprocess.run([fmtrain, f"{source}/configs/tiny_cpu.yaml", *flags], check=True, capture_output=True, text=True)
    return run + "/model"


def classification(work):
    data = f"{source}/data/banking77"
    model_dir = train(work, "classes", "model.task=sequence-classification", f"data.train={data}/train.csv", f"data.test={data}/test.csv",
                      "data.validation=null", "data.columns.label=category")
    texts = ["Where is my card?", "I lost it in München, no wait", "a"]
    out = subprocess.run([fmtrain, "predict", model_dir], input="\n".join(texts) + "\n", check=True, capture_output=True, text=True).stdout
    tokenizer, model = AutoTokenizer.from_pretrained(model_dir), AutoModelForSequenceClassification.from_pretrained(model_dir).eval()
    worst = 0
    for text, line in zip(texts, map(json.loads, out.splitlines())):
        with torch.no_grad():
            log_p = model(**tokenizer(text, return_tensors="pt")).logits[0].log_softmax(0)
        for i, label in model.config.id2label.items():
            worst = max(worst, abs(math.log(line["scores"][label]) - log_p[i].item()))
        assert line["label"] == model.config.id2label[log_p.argmax().item()], line
    return worst


def tagging(work):
    model_dir = train(work, "tags")
    test = f"{source}/data/wnut17/dev.conll"
    ours = json.loads(subprocess.run([fmtrain, "eval", model_dir, test, "--json"], check=True, capture_output=True, text=True).stdout)
    tokenizer, model = AutoTokenizer.from_pretrained(model_dir), AutoModelForTokenClassification.from_pretrained(model_dir).eval()
    loss, count = 0.0, 0
    for block in open(test, encoding="utf-8").read().split("\n\n"):
        rows = [line.split("\t") for line in block.splitlines() if line.strip()]
        if not rows:
            continue
        encoded = tokenizer([r[0] for r in rows], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            log_p = model(**encoded).logits[0].log_softmax(1)
        words = encoded.word_ids()
        for token, word in enumerate(words):
            if word is not None and word != words[token - 1]:
                loss -= log_p[token, model.config.label2id[rows[word][-1]]].item()
                count += 1
    return abs(ours["loss"] - loss / count)


with tempfile.TemporaryDirectory() as work:
    os.environ["FMTRAIN_HOME"] = work
    for name, check in (("classification, log-probabilities", classification), ("tagging, mean loss", tagging)):
        difference = check(work)
        print(f"{name}: largest difference {difference:.2e}")
        assert difference <= TOLERANCE, name
