"""Make derivatives.npz: PyTorch's derivatives of the functions of tests/autograd/derivative_cases.py, in float64.

Run where PyTorch is installed, from the repository's root:  python tests/golden/derivatives.py
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "autograd"))

from derivative_cases import B, C, V, X, both, mixed, network  # noqa: E402

if __name__ == "__main__":
    import numpy as np
    import torch
    from torch.autograd import functional

    x, b, v, c = map(torch.from_numpy, (X, B, V, C))
    found = {}
    value, product = functional.hvp(mixed, (x, b), (v, c))
    found |= {"hvp/value": value, "hvp/0": product[0], "hvp/1": product[1]}
    for i, row in enumerate(functional.hessian(mixed, (x, b))):
        found |= {f"hessian/{i}{j}": each for j, each in enumerate(row)}
    for i, row in enumerate(functional.jacobian(both, (x, b))):
        found |= {f"jacobian/{i}{j}": each for j, each in enumerate(row)}
    grads, value = torch.func.grad_and_value(mixed, argnums=(0, 1))(x, b)
    found |= {"value": value, "grad/0": grads[0], "grad/1": grads[1]}
    model = network(torch.nn).double()
    torch.nn.utils.vector_to_parameters(torch.from_numpy(np.linspace(-1, 1, 23)), model.parameters())
    weights = {name: 2 * p for name, p in model.named_parameters()}
    found["call"] = torch.func.functional_call(model, weights, (x,))
    found["vector"] = torch.nn.utils.parameters_to_vector(weights.values())
    np.savez_compressed(HERE / "derivatives.npz", **{name: each.detach().numpy() for name, each in found.items()})
