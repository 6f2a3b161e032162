"""Learning-rate factors of transformers' schedules, 40 updates, for tests/unit/schedule_test.cpp. Needs transformers and torch."""
import json
import torch
import transformers
from transformers import optimization as o

TOTAL, WARMUP = 40, 4


def factors(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    values = []
    for _ in range(TOTAL):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


golden = {
    "transformers": transformers.__version__,
    "linear": factors(lambda x: o.get_linear_schedule_with_warmup(x, WARMUP, TOTAL)),
    "cosine": factors(lambda x: o.get_cosine_schedule_with_warmup(x, WARMUP, TOTAL)),
    "constant": factors(lambda x: o.get_constant_schedule_with_warmup(x, WARMUP)),
    "inverse_sqrt": factors(lambda x: o.get_inverse_sqrt_schedule(x, WARMUP)),
    "wsd": factors(lambda x: o.get_wsd_schedule(x, num_warmup_steps=WARMUP, num_decay_steps=4, num_training_steps=TOTAL, decay_type="cosine")),
}
with open("schedules.json", "w") as f:
    json.dump(golden, f, indent=0)
