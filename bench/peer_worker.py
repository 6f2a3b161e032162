#!/usr/bin/env python3
"""A peer of compare.py: one process (or one rank of several, by RANK and WORLD_SIZE) that trains, evaluates or measures a part with
PyTorch, and does so only when it is asked. Not for use by hand.

    peer_worker.py '{"kind": "loop", ...}'

One JSON line in asks for work, one JSON line out (after the word RESULT) gives what came of it:
    {"go": n}   n updates   -> {stamps: n + 1 seconds since the epoch, samples, tokens, padded: n each, losses: n}
    {"eval": 1} one pass    -> {seconds, samples, loss}
    {"ready": 1}            -> {}, when all is loaded
Kinds: "trainer" (Hugging Face Trainer with its defaults but for the recipe), "loop" (hand-written: fused AdamW, SDPA; DDP, FSDP2,
ZeroRedundancyOptimizer, DeepSpeed when there are ranks); the parts are in peer_parts.py. All arms read the same token ids and labels (data.npz,
written from fmtrain's prepared file), start from the same model directory with its head, and step through the
batches of the file `order`, unless they group samples of one length, which keeps the same samples an epoch.
"""
import json
import os
import sys
import time

spec = json.loads(sys.argv[1])
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print is no answer


def answer(**facts):
    OUT.write("RESULT " + json.dumps(facts) + "\n")
    OUT.flush()


class Data:
    def __init__(self, path):
        import numpy
        arrays = numpy.load(path)
        offsets = arrays["offsets"]
        self.rows = [arrays["ids"][a:b] for a, b in zip(offsets, offsets[1:])]
        self.labels = [arrays["labels"][a:b] for a, b in zip(offsets, offsets[1:])] if spec["task"] == "token" else arrays["labels"]

    def batch(self, ids):
        """Padded to its longest sample, or to spec["pad"]: input_ids, attention_mask, labels."""
        import torch
        width = spec.get("pad") or max(len(self.rows[i]) for i in ids)
        x = torch.zeros(len(ids), width, dtype=torch.long)
        mask = torch.zeros_like(x)
        y = torch.full_like(x, -100) if spec["task"] == "token" else torch.tensor([int(self.labels[i]) for i in ids])
        for r, i in enumerate(ids):
            n = len(self.rows[i])
            x[r, :n], mask[r, :n] = torch.from_numpy(self.rows[i]), 1
            if spec["task"] == "token":
                y[r, :n] = torch.from_numpy(self.labels[i])
        return {"input_ids": x, "attention_mask": mask, "labels": y}

    def batches(self):
        """Sample ids of each update of an epoch, epoch after epoch, forever."""
        import torch
        g = torch.Generator().manual_seed(1)
        order = json.load(open(spec["order"]))
        grouped = sorted(range(len(self.rows)), key=lambda i: -len(self.rows[i]))
        while True:
            if not spec.get("group"):
                yield from order
                continue
            each = [grouped[k:k + spec["batch"]] for k in range(0, len(grouped), spec["batch"])]
            yield from (each[i] for i in torch.randperm(len(each), generator=g).tolist())


def load_model():
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
    cls = AutoModelForTokenClassification if spec["task"] == "token" else AutoModelForSequenceClassification
    p = spec["dropout"]
    model = cls.from_pretrained(spec["model"], attn_implementation="sdpa", hidden_dropout_prob=p, attention_probs_dropout_prob=p, classifier_dropout=p)
    return model.train()


def parameter_groups(model):
    """No weight decay on biases and norms, as Trainer and fmtrain have it."""
    plain = [q for n, q in model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    rest = [q for n, q in model.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)]
    return [{"params": rest, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]


class Asked:
    """Reads requests, and counts the updates of the one being served."""

    def __init__(self, data):
        self.data, self.left, self.record = data, 0, None

    def wait(self):
        """Blocks until updates are asked for; evaluations are answered here. False at the end of the input."""
        for line in sys.stdin:
            request = json.loads(line)
            if "ready" in request:
                answer()
                continue
            if "eval" in request:
                answer(**self.evaluate())
                continue
            self.left = request["go"]
            self.record = {"stamps": [time.time()], "samples": [], "tokens": [], "padded": [], "losses": []}
            return True
        return False

    def step_done(self, ids, mine, width, loss):
        """After an update: `ids` of all ranks, `mine` of this one. False when the input has ended."""
        r = self.record
        r["stamps"].append(time.time())
        r["samples"].append(len(ids))
        r["tokens"].append(int(sum(len(self.data.rows[i]) for i in ids)))
        r["padded"].append(width * len(mine) * WORLD)
        r["losses"].append(float(loss))
        self.left -= 1
        if self.left > 0:
            return True
        answer(**r)
        return self.wait()


def wrap(model):
    """For spec["dist"]: what computes the loss of a batch, and what makes an update of it."""
    import torch
    if spec["dist"] == "deepspeed":
        return deepspeed_engine(model)
    if spec["dist"] == "fsdp2":
        from torch.distributed.fsdp import fully_shard
        for layer in model.bert.encoder.layer:
            fully_shard(layer)
        fully_shard(model)
    groups = parameter_groups(model)
    if spec["dist"] in ("ddp", "zero"):
        model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    if spec["dist"] == "zero":
        from torch.distributed.optim import ZeroRedundancyOptimizer
        optimizer = ZeroRedundancyOptimizer(groups, torch.optim.AdamW, lr=spec["lr"], fused=True)
    else:
        optimizer = torch.optim.AdamW(groups, lr=spec["lr"], fused=True)
    run = torch.compile(model, dynamic=True) if spec.get("compile") else model

    def forward(batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=spec["bf16"]):
            return run(**batch).loss

    def update(loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return forward, update


def deepspeed_engine(model):
    """ZeRO of stage spec["stage"] around torch's fused AdamW; bf16 is DeepSpeed's own: weights in bf16, a master copy in fp32."""
    import deepspeed
    import torch
    config = {"train_batch_size": spec["batch"], "train_micro_batch_size_per_gpu": spec["batch"] // WORLD, "gradient_clipping": 1.0,
              "zero_optimization": {"stage": spec["stage"]}, "bf16": {"enabled": spec["bf16"]}, "steps_per_print": 10**9,
              "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=spec["lr"], fused=True)
    engine = deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]

    def update(loss):
        engine.backward(loss)
        engine.step()

    return lambda batch: engine(**batch).loss, update


def loop():
    import torch
    torch.set_num_threads(spec["threads"])
    if spec["dist"] != "none":
        torch.distributed.init_process_group("gloo")
    data = Data(spec["data"])
    forward, update = wrap(load_model())
    asked = Asked(data)
    batches = data.batches()
    going = asked.wait()
    while going:
        ids = next(batches)
        mine = ids[RANK::WORLD]
        batch = data.batch(mine)
        loss = forward(batch)
        update(loss)
        going = asked.step_done(ids, mine, batch["input_ids"].shape[1], loss.detach())


def trainer():
    import tempfile
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments
    torch.set_num_threads(spec["threads"])
    data = Data(spec["data"])
    asked = Asked(data)
    mine = []  # the ids and padded width of each update, in the order they were made

    class Fixed(torch.utils.data.Dataset):
        """The batches of this rank, one item each: the order is this bench's, all else is Trainer's."""

        def __init__(self):
            self.whole, self.made = data.batches(), []

        def __len__(self):
            return 10**6

        def __getitem__(self, k):
            while len(self.made) <= k:
                self.made.append(next(self.whole))
            return self.made[k]

    def collate(items):
        batch = data.batch(items[0][RANK::WORLD])
        mine.append((items[0], batch["input_ids"].shape[1]))
        return batch

    class Rows(torch.utils.data.Dataset):
        """For evaluate(): samples in the order of the file."""

        def __len__(self):
            return len(data.rows)

        def __getitem__(self, k):
            return k

    class Plain(Trainer):
        def get_train_dataloader(self):
            return torch.utils.data.DataLoader(Fixed(), batch_size=1, collate_fn=collate)

        def get_eval_dataloader(self, dataset=None):
            return torch.utils.data.DataLoader(Rows(), batch_size=32, collate_fn=data.batch)

        def training_step(self, *arguments, **named):
            self.last = super().training_step(*arguments, **named)
            return self.last

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **named):
            whole, width = mine.pop(0)
            control.should_training_stop = not asked.step_done(whole, whole[RANK::WORLD], width, made.last)

    place = tempfile.mkdtemp()
    settings = TrainingArguments(place, per_device_train_batch_size=1, max_steps=10**5, learning_rate=spec["lr"], weight_decay=0.01,
                                 lr_scheduler_type="constant", save_strategy="no", report_to=[], logging_steps=10**6, disable_tqdm=True,
                                 use_cpu=True, bf16=spec["bf16"])
    made = Plain(load_model(), settings, train_dataset=Rows(), callbacks=[Clock()])

    def evaluate():
        start = time.time()
        result = made.evaluate(eval_dataset=Rows())
        return {"seconds": time.time() - start, "samples": len(data.rows), "loss": result["eval_loss"]}

    asked.evaluate = evaluate
    if asked.wait():
        made.train()


def main():
    if spec["kind"] in ("loop", "trainer"):
        return {"loop": loop, "trainer": trainer}[spec["kind"]]()
    import peer_parts
    measure = peer_parts.KINDS[spec["kind"]](spec)
    for _ in sys.stdin:
        answer(**measure())


if __name__ == "__main__":
    main()
