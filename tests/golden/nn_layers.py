"""Make nn_layers.npz: PyTorch's results for every case of tests/nn/nn_cases.py, in float64.

Run where PyTorch is installed, from the repository's root:  python tests/golden/nn_layers.py

For a case the file has ``<case>/out<i>`` for each output, ``<case>/in<i>`` for the gradient of each floating input,
``<case>/grad/<name>`` for the gradient of each parameter, and ``<case>/buffer/<name>`` for each buffer afterwards.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "nn"))

from nn_cases import CASES, draw_inputs, draw_state, draw_upstream  # noqa: E402


def flat(outputs):
    """Outputs as one flat list: a recurrent layer returns nested tuples."""
    if isinstance(outputs, tuple | list):
        return [x for item in outputs for x in flat(item)]
    return [outputs]


def build(torch, case):
    """PyTorch's module for a case, with the case's state."""
    options = {"dim" if key == "axis" else key: value for key, value in case.options.items()}
    for name in ("weight", "pos_weight"):
        if name in options:
            options[name] = torch.tensor(options[name])
    module = getattr(torch.nn, case.kind)(*case.args, **options).double().train(case.training)
    if not case.kind.endswith("Loss"):
        state = draw_state(case, {name: tuple(x.shape) for name, x in module.state_dict().items()})
        module.load_state_dict({name: torch.from_numpy(np.asarray(x)) for name, x in state.items()})
    return module


def reference(torch, case):
    """What PyTorch computes, by the names of the file."""
    module = build(torch, case)
    inputs = [torch.from_numpy(np.array(x)) for x in draw_inputs(case)]
    for x in inputs:
        x.requires_grad_(x.is_floating_point())
    first, rest = inputs[0], inputs[1:]
    arguments = [first, tuple(rest)] if case.paired and rest else inputs
    outputs = flat(module(*arguments))
    upstream = draw_upstream(case, [x.detach().numpy() for x in outputs])
    torch.autograd.backward(outputs, [torch.from_numpy(np.asarray(g)) for g in upstream])
    results = {f"out{i}": x for i, x in enumerate(outputs)}
    results |= {f"in{i}": x.grad for i, x in enumerate(inputs) if x.grad is not None}
    results |= {f"grad/{name}": p.grad for name, p in module.named_parameters()}
    if not case.kind.endswith("Loss"):
        results |= {f"buffer/{name}": b for name, b in module.named_buffers()}
    return {name: x.detach().numpy() for name, x in results.items()}


if __name__ == "__main__":
    import torch

    values = {f"{name}/{key}": x for name, case in CASES.items() for key, x in reference(torch, case).items()}
    np.savez_compressed(HERE / "nn_layers.npz", **values)
    print(f"{len(values)} arrays of {len(CASES)} cases from torch {torch.__version__}")
