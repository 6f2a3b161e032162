#!/usr/bin/env python3
"""Writes events.golden with TensorBoard's own record writer and protobuf classes (PyPI tensorboard 2.21.0).

make_golden.py          writes the file anew
make_golden.py DIR      prints what TensorBoard reads in a run directory, one line "tag step value" a scalar
"""
import os
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

SCALARS = [("train/loss", 0.1), ("train/lr", 2e-4), ("eval/test/f1", 1.0 / 3)]


def golden(path):
    start = event_pb2.Event(wall_time=1700000000.5, step=301)
    start.session_log.status = event_pb2.SessionLog.START
    values = [summary_pb2.Summary.Value(tag=t, simple_value=v) for t, v in SCALARS]
    events = [
        event_pb2.Event(wall_time=1700000000.5, step=0, file_version="brain.Event:2"),
        start,
        event_pb2.Event(wall_time=1700000001.25, step=301, summary=summary_pb2.Summary(value=values)),
    ]
    with open(path, "wb") as f:
        writer = RecordWriter(f)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()


def show(folder):
    data = event_accumulator.EventAccumulator(folder, size_guidance={"scalars": 0})
    data.Reload()
    for tag in data.Tags()["scalars"]:
        for e in data.Scalars(tag):
            print(tag, e.step, repr(e.value))


if __name__ == "__main__":
    show(sys.argv[1]) if len(sys.argv) > 1 else golden(os.path.join(os.path.dirname(__file__), "events.golden"))
