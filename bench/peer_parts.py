"""Parts of the peers, each measured alone in a process that peer_worker.py keeps: ceilings of the machine, tokenizers, HDF5 rows,
optimizers, gloo. A kind is a function of the specification that makes what is needed and returns the measurement."""
import hashlib
import mmap
import os
import time

MINILM = (384, 6)


def product_seconds(torch, f, seconds):
    f()
    best, end = 1e9, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return best


def products(torch, rows, dtype, seconds):
    """GFLOP/s of the products of a MiniLM layer on `rows` tokens, by F.linear and by oneDNN: all flop over the sum of best times."""
    d, flop, linear, onednn = MINILM[0], 0, 0.0, 0.0
    for k, n in ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)):
        x, w, b = (torch.randn(s).to(dtype) for s in ((rows, k), (n, k), (n,)))
        packed = torch.ops.mkldnn._reorder_linear_weight(w, rows)
        flop += 2 * rows * k * n
        linear += product_seconds(torch, lambda: torch.nn.functional.linear(x, w, b), seconds)
        onednn += product_seconds(torch, lambda: torch.ops.mkldnn._linear_pointwise(x, packed, b, "none", [], ""), seconds)
    return {"linear": 1e-9 * flop / linear, "onednn": 1e-9 * flop / onednn}


def stream(torch, seconds):
    """GB/s of an in-place update of 512 MiB: each byte read once and written once."""
    x = torch.ones(128 << 20)
    return 2 * x.numel() * 4 / product_seconds(torch, lambda: x.add_(1.0), seconds) / 1e9


def ceilings(spec):
    import torch

    def measure():
        found = {}
        with torch.no_grad():
            for threads in spec["both"]:
                torch.set_num_threads(threads)
                for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
                    if name in spec["precisions"]:
                        found[f"{name} {threads}"] = products(torch, spec["rows"], dtype, spec["seconds"])
                if spec.get("stream"):
                    found[f"stream {threads}"] = stream(torch, spec["seconds"])
        return found
    return measure


def disk(spec):
    """GB/s of 512 MiB written with O_DIRECT and synced."""
    block = mmap.mmap(-1, 16 << 20)
    block.write(os.urandom(16 << 20))

    def measure():
        path = spec["work"] + "/disk"
        start = time.perf_counter()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
        for _ in range(32):
            os.write(fd, block)
        os.fsync(fd)
        os.close(fd)
        seconds = time.perf_counter() - start
        os.unlink(path)
        return {"gb_per_s": (512 << 20) / seconds / 1e9}
    return measure


def tokenizer(spec):
    """MB/s of UTF-8 over distinct texts, RAYON_NUM_THREADS as the environment has it; a hash of the ids."""
    from tokenizers import Tokenizer, __version__
    tok = Tokenizer.from_file(spec["tokenizer"])
    tok.no_padding()
    tok.no_truncation()
    texts = [line.rstrip("\n") for line in open(spec["texts"], encoding="utf-8")]
    size = sum(len(t.encode()) for t in texts)

    def measure():
        found = {}
        for name in ("encode_batch", "encode_batch_fast"):
            start = time.perf_counter()
            out = [getattr(tok, name)(texts[i:i + 1000]) for i in range(0, len(texts), 1000)]
            found[name] = size / 1e6 / (time.perf_counter() - start)
        ids = hashlib.sha256(b"".join(",".join(map(str, e.ids)).encode() + b"\n" for b in out for e in b)).hexdigest()
        return {**found, "bytes": size, "texts": len(texts), "ids_sha256": ids, "version": __version__}
    return measure


def rows(spec):
    """Rows of 128 ints a second: h5py in random order, and a DataLoader over it (batches of 32)."""
    import h5py
    import numpy
    import torch
    count, path = 200_000, spec["work"] + "/rows.h5"
    with h5py.File(path, "w") as f:
        f.create_dataset("x", data=numpy.random.default_rng(0).integers(0, 30522, (count, 128), dtype=numpy.int32))
    file = h5py.File(path)["x"]
    shuffled = numpy.random.default_rng(1).permutation(count)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return count

        def __getitem__(self, i):
            return torch.from_numpy(file[i])

    def rate(items, each):
        done, start = 0, time.perf_counter()
        for _ in items:
            done += each
            if time.perf_counter() - start > spec["seconds"]:
                break
        return done / (time.perf_counter() - start)

    def measure():
        torch.set_num_threads(1)
        return {"h5py, one row a call": rate((file[int(i)] for i in shuffled), 1),
                "h5py, a sorted batch a call": rate((file[numpy.sort(shuffled[k:k + 32])] for k in range(0, count, 32)), 32),
                "DataLoader": rate(torch.utils.data.DataLoader(Rows(), 32, shuffle=True), 32)}
    return measure


def shapes(hidden, layers):
    h, f = hidden, 4 * hidden
    layer = [(h, h), (h,)] * 4 + [(h,), (h,), (f, h), (f,), (h, f), (h,), (h,), (h,)]
    return [(30522, h), (512, h), (2, h), (h,), (h,)] + layer * layers


def adamw(spec):
    """ns a parameter of torch's fused AdamW, alone and with clip_grad_norm_ before it."""
    import torch
    parameters = [torch.nn.Parameter(torch.randn(s) * 0.02) for s in shapes(*spec["shape"])]
    for q in parameters:
        q.grad = torch.randn_like(q) * 1e-3
    count = sum(q.numel() for q in parameters)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, fused=True)

    def clipped():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    def measure():
        found = {"parameters": count}
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for name, f in (("fused", optimizer.step), ("clip and fused", clipped)):
                found[f"{name} {threads}"] = 1e9 * product_seconds(torch, f, spec["seconds"]) / count
        return found
    return measure


def allreduce(spec):
    """Bus bandwidth of gloo, GB/s, median of repeats, for each size in bytes."""
    import torch
    import torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    n = dist.get_world_size()

    def measure():
        found = {}
        for size in spec["sizes"]:
            x = torch.ones(size // 4)
            for _ in range(2):
                dist.all_reduce(x)
            times = []
            for _ in range(max(5, min(300, (256 << 20) // size))):
                dist.barrier()
                start = time.perf_counter()
                dist.all_reduce(x)
                times.append(time.perf_counter() - start)
            found[str(size)] = 2 * (n - 1) / n * size / sorted(times)[len(times) // 2] / 1e9
        return found
    return measure


KINDS = {f.__name__: f for f in (ceilings, disk, tokenizer, rows, adamw, allreduce)}
