#!/usr/bin/env python3
"""Writes the golden files of the tokenizer test with Hugging Face's tokenizers library.

  python3 make_golden.py TOKENIZER_DIR        (a directory with bert-base-uncased's tokenizer.json; needs tokenizers==0.22.*)

  texts.json     ids, offsets and word numbers of hard texts, in full
  variants.json  the same for tokenizers with other flags and a vocabulary of a few tokens, which stands in the file
  blocks.json    for each block of 200 units of the files in data/: the first 16 digits of SHA-256 over their canonical text,
                 one line a unit, "id:begin:end:word" for each token, divided by blanks; word -1 stands for none

Units of a file: "lines" are divided by LF alone; "words" are the first columns of the rows between two blank rows, encoded as a
sentence that is already split; "sentences" are the same words joined by blanks; "strings" are the string values of a JSON file.
"code points" belong to no file: four words around each code point but NUL and surrogates, 4,096 units a block.
"""
import hashlib
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BLOCK, CODE_POINT_BLOCK = 200, 4096

FILES = [(f"data/{name}", units) for name, kinds in {
    "wnut17/train.conll": "lines sentences words", "wnut17/dev.conll": "lines sentences words",
    "wnut17/test.conll": "lines sentences words", "ncbi-disease/train.tsv": "lines sentences words",
    "ncbi-disease/devel.tsv": "lines sentences words", "ncbi-disease/test.tsv": "lines sentences words",
    "banking77/train.csv": "lines", "banking77/test.csv": "lines", "clinc150/data_full.json": "strings"}.items()
    for units in kinds.split()]

TEXTS = [
    "", " ", "   ", "\t", "\t \n \r ", "Hello, World!", "hello world", "HELLO WORLD 123 4.5e-6", "a", "don't can't it's", "...", "!?",
    "[CLS]", "[SEP]", "[MASK]x", "x[MASK]", "a [SEP] b", "[sep]", "[ SEP ]", "[[SEP]]", "[PAD][UNK][CLS]", "[MASK][MASK] [MASK]", "[MASK",
    "tab\tseparated\tcolumns", "no\u00a0break\u202fspaces\u2007here", "mongolian\u180evowel", "line\u2028separator\u2029paragraph",
    "next\u0085line", "vertical\x0btab\x0cfeed", "ideographic\u3000space", "zero\u200bwidth\u200cnon\u200djoiner\ufeffbom", "soft\u00adhyphen",
    "bell\x07 escape\x1b[0m delete\x7f", "c1\u0080control\u009f", "replacement\ufffdcharacter", "private\ue000use\uf8ff \U000f0000 \U00100000",
    "caf\u00e9 r\u00e9sum\u00e9 na\u00efve", "cafe\u0301 re\u0301sume\u0301 nai\u0308ve", "\u00c5ngstr\u00f6m \u212b A\u030a", "\u1e69 s\u0323\u0307 s\u0307\u0323",
    "\u0301", "\u0301\u0302\u0303", "a \u0301 b", "\u0301a", "e\u0301", "x\u0301y\u0302z\u0303", "\u20d0\u0489", "\u0903 \u0937\u094d\u0915 \u0939\u093f\u0928\u094d\u0926\u0940",
    "\u4e2d\u6587\u5206\u8bcd", "abc\u4e2d\u6587def", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3002", "\u304c \u304b\u3099 \u30d1 \uff76\uff9e", "\uf900\ufa0e \U0002f800 \U00020000\U0002a6d6",
    "\U0002b820\U0002b920", "\ud55c\uad6d\uc5b4 \ub9d0", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "\uac00\u11a8 \uac01", "\u3131\u314f",
    "\u0634\u0643\u0631\u0627 \u0644\u0643\u060c", "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "\u202bright to left\u202c",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e01\u0e33", "\u0130stanbul \u0131\u015f\u0131k I\u0307", "\u039f\u0394\u039f\u03a3 \u03a3 \u03c2", "\u1f88 \u1fb3 \u03b1\u0345", "\u1e9e STRASSE stra\u00dfe",
    "\ufb01le \ufb03 \u0133 \u01c6 \u2460 \u00bd \u2122", "\uff21\uff22\uff23 \uff11\uff12\uff01", "\u2126 \u212a \u00b5 \u03bc",
    "\u037e \u0387 \u1fef \u2000\u2001 \u2329 \u2260 <\u0338", "\u201cquotes\u201d \u2018single\u2019 \u00abguillemets\u00bb \u2013 \u2014 \u2026 \u2022 \u00b7 \u00a7 \u00b6 \u00bf",
    "$100 \u20ac50 \u00a350 100% a+b=c a<b|c ^_^ `x` ~ #tag @user", "\u00ac\u00d7\u00f7\u00b1 \u2212 \u221a\u221e", "A\u0300\u0315\u0300\u05ae\u0062",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea 1\ufe0f\u20e3", "ok\U0001f44dok", "\ufe0f", "\u2640\ufe0f",
    "x" * 100, "x" * 101, "ab" * 250, "\u00e9" * 100, "\u00e9" * 101, "e\u0301" * 100, "e\u0301" * 101, "\u4e2d" * 150, "." * 150, "a." * 120, "word " * 60,
    "unaffable antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis", "##ing ## #", "http://example.org/a?b=c&d=%20#e",
    "\u05f3\u05f4 \u1680ogham \u2003em", "\u200e\u200f\u2060\u2066\u2069", "\U000e0041tag\U000e007f", "\u2070\u2071 \u1d2c \u02b0", "\u0345\u037a \u0384 \u00a8 \u00b4 \u00b8",
    "\U0001d165\U0001d16d \U0001d15e \u302e\u302f", "\u0f73\u0f75\u0f81", "\u09cb \u09c7\u09be", "\u1025\u102e \u1026", "\U000110ab \U0001112e",
]
WORDS = [
    [], [""], ["", "", ""], ["John", "lives", "in", "New-York", "."], ["\u200b", "a", "\ufe0f", "b"], ["two words", "in one"], ["[SEP]", "x[MASK]y"],
    [" lead", "trail ", " "], ["caf\u00e9", "e\u0301", "\u0301"], ["#tag", "@user", "http://t.co/x", ":)", "\U0001f44d\U0001f3fd"], ["\u4e2d\u6587", "\uac00"],
    ["x" * 101, "y" * 100], ["\x07", "ok"],
]

SMALL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "caf", "##e", "##\u00e9", "Caf", "cafe", "i", "I", "##\u0307", "i\u0307", "\u4e2d", "\u6587", "\u4e2d\u6587",
         "a", "##a", "b", "##b", ",", ".", "##.", "a\u0007b", "ab", "\u03c3", "\u03c2", "\u03a3", "\u0301", "e", "\u00e9", "\u00c9"]
SMALL_TEXTS = ["the The THE", "caf\u00e9 Caf\u00e9 cafe\u0301 CAFE\u0301", "\u0130 I\u0307 i", "\u4e2d\u6587 a\u4e2db \u4e2d\u6587", "a\u0007b a\tb\u0085a", "aab,ba.", "\u03a3 \u03c3 \u03c2", "\u00c9 E\u0301 \u0301",
               "[MASK]a [SEP]", "a\u200bb", "ab\ufffdab", ""]
VARIANTS = {  # name: flags of the normalizer, then kind of post-processor
    "uncased": ({}, "TemplateProcessing"), "cased": ({"lowercase": False}, "TemplateProcessing"),
    "bert processing": ({}, "BertProcessing"), "keep accents": ({"strip_accents": False}, "TemplateProcessing"),
    "cased, strip accents": ({"lowercase": False, "strip_accents": True}, "TemplateProcessing"),
    "no chinese": ({"handle_chinese_chars": False}, "BertProcessing"), "no cleaning": ({"clean_text": False}, "TemplateProcessing"),
}


def tokens(encoding):
    return [(i, b, e, -1 if w is None else w) for i, (b, e), w in zip(encoding.ids, encoding.offsets, encoding.word_ids)]


def golden(tokenizer, text):
    split = isinstance(text, list)
    return {"words" if split else "text": text, "tokens": tokens(tokenizer.encode(text, is_pretokenized=split))}


def units_of(path, kind):
    if kind == "code points":
        return [f"{c} a{c}b {c}{c} e{c}\u0301" for c in map(chr, range(1, 0x110000)) if not "\ud800" <= c <= "\udfff"]
    content = path.read_bytes().decode("utf-8")
    if kind == "lines":
        return content.split("\n")
    if kind == "strings":
        return list(strings_in(json.loads(content)))
    sentences = [[]]
    for row in content.split("\n"):
        if row.strip(" \t\r"):
            sentences[-1].append(row.split("\t")[0].split(" ")[0].rstrip("\r"))
        elif sentences[-1]:
            sentences.append([])
    if not sentences[-1]:
        sentences.pop()
    return sentences if kind == "words" else [" ".join(words) for words in sentences]


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_in(item)


def hashes(tokenizer, path, kind, block):
    """Count of units of a file, and the hash of each block of them."""
    units = units_of(path, kind)
    found = []
    for first in range(0, len(units), block):
        lines = [" ".join("%d:%d:%d:%d" % t for t in tokens(e)) + "\n"
                 for e in tokenizer.encode_batch(units[first:first + block], is_pretokenized=kind == "words")]
        found.append(hashlib.sha256("".join(lines).encode()).hexdigest()[:16])
    return len(units), found


def small_tokenizer(flags, post):
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    special = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
                "pair": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]"), {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {t: {"id": t, "ids": [SMALL.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")}}
    bert = {"type": "BertProcessing", "sep": ["[SEP]", SMALL.index("[SEP]")], "cls": ["[CLS]", SMALL.index("[CLS]")]}
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, t in enumerate(SMALL[:5])]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer | flags,
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": bert if post == "BertProcessing" else template, "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                      "vocab": {t: i for i, t in enumerate(SMALL)}}}


def load(directory):
    tokenizer = Tokenizer.from_file(str(Path(directory) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def block_row(tokenizer, file, kind, block):
    count, found = hashes(tokenizer, ROOT / file, kind, block)
    return {"file": file, "units": kind, "block": block, "count": count, "sha256": found}


def write(path, rows):
    """One row a line, so that a change is seen where it is."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f"[\n{lines}\n]\n")


def main():
    tokenizer = load(sys.argv[1])
    write(HERE / "texts.json", [golden(tokenizer, t) for t in TEXTS + WORDS])
    variants = []
    for name, (flags, post) in VARIANTS.items():
        spec = small_tokenizer(flags, post)
        small = Tokenizer.from_str(json.dumps(spec))
        variants.append({"name": name, "tokenizer": spec, "cases": [golden(small, t) for t in SMALL_TEXTS]})
    write(HERE / "variants.json", variants)
    blocks = [block_row(tokenizer, file, kind, BLOCK) for file, kind in FILES]
    blocks.append(block_row(tokenizer, "", "code points", CODE_POINT_BLOCK))
    write(HERE / "blocks.json", blocks)


if __name__ == "__main__":
    main()
