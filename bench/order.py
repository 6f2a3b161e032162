"""The samples of each update as fmtrain draws them (runtime/data/plan.h), so that a peer can take the same ones in the same order."""

MASK = 0xFFFFFFFF


def philox(counter, key):
    """Philox-4x32-10 (Salmon et al., SC 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0


def order(seed, epoch, size, position):
    """Position -> sample: a Feistel network over the next even power of two, walking on past `size`."""
    half = ((size - 1).bit_length() + 1) // 2
    value = position
    while True:
        left, right = value >> half, value & ((1 << half) - 1)
        for r in range(6):
            left, right = right, left ^ (philox((right, r | 1 << 8, epoch & MASK, epoch >> 32), (seed & MASK, seed >> 32)) & ((1 << half) - 1))
        value = left << half | right
        if value < size:
            return value


def batches(seed, size, batch, epochs):
    """Sample ids of each update, of `epochs` epochs."""
    result = []
    for epoch in range(epochs):
        ids = [order(seed, epoch, size, p) for p in range(size)]
        result += [ids[k:k + batch] for k in range(0, size, batch)]
    return result
