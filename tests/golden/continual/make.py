"""Golden values of drift statistics and of the gate's tests, from numpy, scipy and scikit-learn.

  make.py            writes drift.json and gate.json beside this file
"""
import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy import optimize, special, stats
from scipy.spatial import distance
from sklearn.decomposition import PCA
from sklearn.metrics import f1_score

HERE = Path(__file__).parent


def numbers(array):
    return np.asarray(array, dtype=float).ravel().tolist()


def rows(rng, n, d, shift=0.0, digits=3):
    """Multiples of 1/1024: exact in single precision, so both sides see the same numbers."""
    return np.round((rng.normal(size=(n, d)) + shift) * 1024) / 1024


def mmd2(kernel, first):
    first = np.asarray(first, dtype=bool)
    xx, yy, xy = kernel[first][:, first], kernel[~first][:, ~first], kernel[first][:, ~first]
    m, n = len(xx), len(yy)
    return (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1)) - 2 * xy.mean()


def mmd_case(rng, m, n, d, shift):
    x, y = rows(rng, m, d), rows(rng, n, d, shift)
    pool = np.concatenate([x, y])
    pairs = distance.pdist(pool)
    sigma = float(np.median(pairs))
    kernel = np.exp(-distance.squareform(pairs) ** 2 / (2 * sigma**2))
    splits = [sorted(rng.permutation(m + n)[:m].tolist()) for _ in range(4)]
    values = [mmd2(kernel, np.isin(np.arange(m + n), s)) for s in splits]
    return {"dims": d, "x": numbers(x), "y": numbers(y), "sigma": sigma,
            "mmd2": mmd2(kernel, np.arange(m + n) < m), "splits": splits, "mmd2_of_splits": values}


def ks_case(one, other, **more):
    result = stats.ks_2samp(one, other, method="exact")
    return {**more, "d": float(result.statistic), "p": float(result.pvalue)}


def ks_cases(rng):
    cases = []
    for m, n, shift in [(50, 50, 0), (80, 33, 0.2), (200, 120, 0.5), (7, 9, 0), (300, 100, 1.5), (1, 1, 0), (30, 30, 9)]:
        x, y = rows(rng, m, 1)[:, 0], rows(rng, n, 1, shift)[:, 0]
        cases.append(ks_case(x, y, x=numbers(x), y=numbers(y)))
    x, y = rng.integers(0, 5, 40), rng.integers(0, 6, 60)
    cases.append(ks_case(x, y, x=numbers(x), y=numbers(y)))
    return cases


def sequence(n, step, modulus, scale=1.0):
    """Large samples by a formula instead of by their values."""
    return np.arange(n) * step % modulus / modulus * scale


def long_ks_cases():
    return [ks_case(sequence(m, *a), sequence(n, *b), m=m, n=n, a=a, b=b) for m, n, a, b in
            [(5000, 1000, (7919, 5003, 1.0), (6007, 7001, 1.05)), (5000, 1000, (7919, 5003, 1.0), (6007, 7001, 1.0)),
             (1000, 1000, (7919, 5003, 1.0), (617, 1009, 1.1)), (3000, 2001, (7919, 5003, 1.0), (6007, 7001, 1.3))]]


def merged(a, b):
    """As class_drift.h says: smallest classes first until the merged one is expected at least five times in both samples."""
    a, b = np.asarray(a), np.asarray(b)
    least = 5 * (a.sum() + b.sum()) / min(a.sum(), b.sum())
    order = [k for k in np.argsort(a + b, kind="stable") if a[k] + b[k] > 0]
    small, rest = np.zeros(2, int), [np.array([a[k], b[k]]) for k in order]
    while rest and (rest[0].sum() < least or 0 < small.sum() < least):
        small = small + rest.pop(0)
    return np.array(([small] if small.sum() else []) + rest).T


def class_case(a, b):
    table = merged(a, b)
    test = stats.chi2_contingency(table, correction=False) if table.shape[1] > 1 else None
    p, q = np.asarray(a) / np.sum(a), np.asarray(b) / np.sum(b)
    return {"a": a, "b": b, "cells": int(table.shape[1]), "statistic": float(test.statistic) if test else 0.0,
            "p": float(test.pvalue) if test else 1.0, "js": float(distance.jensenshannon(p, q, 2) ** 2)}


def psi_case(x, y):
    edges = np.percentile(x, np.arange(10, 100, 10))
    bins = [(np.searchsorted(edges, v, "left") + np.searchsorted(edges, v, "right") + 1) // 2 for v in (x, y)]
    p, q = (np.maximum(np.bincount(b, minlength=10) / len(b), 1e-4) for b in bins)
    return {"x": numbers(x), "y": numbers(y), "psi": float(((q - p) * np.log(q / p)).sum())}


def negative_log_likelihood(b, logits, labels):
    return (special.logsumexp(b * logits, axis=1) - b * logits[np.arange(len(labels)), labels]).sum()


def probability_case(rng, n, classes, sharpness):
    logits = rng.normal(size=(n, classes)) * 2
    labels = np.array([rng.choice(classes, p=special.softmax(row)) for row in logits])
    p = special.softmax(logits * sharpness, axis=1).astype(np.float32).astype(float)
    best = optimize.minimize_scalar(negative_log_likelihood, bounds=(0.01, 100), args=(np.log(p), labels), method="bounded",
                                    options={"xatol": 1e-13})
    q = special.softmax(np.log(p) * best.x, axis=1)
    top, predicted = q.max(1), q.argmax(1)
    correct = predicted == labels
    bins = np.clip(np.ceil(p.max(1) * 15).astype(int) - 1, 0, 14)
    gaps = np.bincount(bins, weights=correct - p.max(1), minlength=15)
    truth, counted = q.sum(0), np.bincount(predicted, minlength=classes)
    right = np.bincount(predicted, weights=top, minlength=classes)
    threshold = np.sort(top)[(~correct).sum()]
    return {"classes": classes, "probabilities": numbers(p), "labels": labels.tolist(), "temperature": 1 / best.x,
            "ece": float(np.abs(gaps).sum() / n), "cbpe": float(top.mean()), "macro_f1": float((2 * right / (truth + counted)).mean()),
            "accuracy": float(correct.mean()), "threshold": float(threshold)}


def pca_case(rng):
    x = rows(rng, 60, 6) @ np.round(rng.normal(size=(6, 6)) * 8) / 8
    x = np.round(x * 256) / 256
    pca = PCA(3, svd_solver="full").fit(x)
    return {"rows": numbers(x), "dims": 6, "mean": numbers(pca.mean_), "axes": numbers(pca.components_),
            "variances": numbers(pca.explained_variance_), "projected": numbers(pca.transform(x).T)}


def holm(p):
    p = np.asarray(p)
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return numbers(out)


def drift():
    rng = np.random.default_rng(7)
    levels = [[0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.9], [0.02], [1e-9, 0.2, 1e-9, 0.3, 0.04]]
    skewed = np.round(rng.gamma(2, 30, size=300)), np.round(rng.gamma(2.5, 30, size=200))
    return {
        "mmd": [mmd_case(rng, 40, 30, 5, 0.0), mmd_case(rng, 25, 35, 3, 0.8), mmd_case(rng, 2, 2, 1, 0.0)],
        "ks": ks_cases(rng), "long_ks": long_ks_cases(),
        "holm": [{"p": p, "adjusted": holm(p)} for p in levels],
        "classes": [class_case([100, 50, 30], [90, 70, 20]), class_case([400, 300, 3, 2, 1, 0], [80, 60, 1, 0, 2, 0]),
                    class_case([10, 2], [1, 2]), class_case([1000, 900, 800, 7], [500, 450, 420, 30]), class_case([0, 20, 4], [30, 0, 4])],
        "psi": [psi_case(rows(rng, 200, 1)[:, 0], rows(rng, 150, 1, 0.4)[:, 0]), psi_case(*skewed),
                psi_case(np.repeat([1.0, 2.0, 3.0], 40), np.repeat([1.0, 3.0], 30)),
                # ties at the least, the largest and a middle value: shifts off them in both directions are seen
                psi_case(np.repeat([0.0, 1.0], [95, 5]), np.repeat([0.0, 1.0], [60, 40])),
                psi_case(np.repeat([0.0, 1.0], [5, 95]), np.repeat([0.0, 1.0, 2.0], [5, 45, 10])),
                psi_case(np.repeat([0.0, 1.0, 2.0, 3.0], [30, 40, 20, 10]), np.repeat([0.0, 0.5, 1.0, 1.5], [10, 20, 10, 10]))],
        "probabilities": [probability_case(rng, 120, 3, 1.7), probability_case(rng, 100, 5, 0.6)],
        "pca": pca_case(rng),
        "chi_square_tail": [[x, k, float(stats.chi2.sf(x, k))] for x in (0.1, 1, 3.84, 30, 200) for k in (1, 2, 9, 149)],
    }


def paired_case(rng, n):
    """Binary F1 and accuracy of two classifiers, from predictions."""
    gold = rng.integers(0, 2, n)
    one, two = (np.where(rng.random(n) < rate, gold, 1 - gold) for rate in (0.8, 0.85))
    return {"gold": gold.tolist(), "champion": one.tolist(), "challenger": two.tolist(),
            "accuracy": float((two == gold).mean() - (one == gold).mean()), "f1": float(f1_score(gold, two) - f1_score(gold, one))}


def gate():
    rng = np.random.default_rng(11)
    pairs = [(1, 9), (5, 15), (10, 20), (0, 0), (0, 1), (3, 3), (40, 61), (300, 420), (2, 900), (4000, 4200)]
    tests = []
    for b, c in pairs:
        exact = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
        chi2 = [max(abs(b - c) - k, 0) ** 2 / (b + c) if b + c else 0.0 for k in (0, 1)]
        tests.append({"b": b, "c": c, "exact": float(exact), "chi2": chi2, "p": [float(stats.chi2.sf(x, 1)) for x in chi2]})
    return {"mcnemar": tests, "paired": [paired_case(rng, n) for n in (60, 200)]}


print("numpy", np.__version__, "scipy", scipy.__version__, "scikit-learn", sklearn.__version__)
for name, values in (("drift", drift()), ("gate", gate())):
    (HERE / f"{name}.json").write_text(json.dumps(values, separators=(",", ":")) + "\n")
