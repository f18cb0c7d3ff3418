"""A new optimizer in one file: its rule, its options, its chain. Kernels, groups and state dict come with it.

This one adds the slow part of the gradient, an average over many steps, to the gradient itself before anything else
sees it (Lee et al., "Grokfast: accelerated grokking by amplifying slow gradients", 2024).
"""

import minigrad
from minigrad import data, nn, optim


@optim.rule(state=("slow_grad",))
def amplify_slow_gradients(update, slow_grad, *, alpha, strength):
    slow_grad = alpha * slow_grad + (1 - alpha) * update
    update = update + strength * slow_grad
    return update, slow_grad


class SlowSGD(optim.Optimizer):
    def __init__(self, params, lr=0.1, alpha=0.9, strength=2.0, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "alpha": alpha, "strength": strength, "weight_decay": weight_decay})

    def chain(self):
        return [amplify_slow_gradients, optim.add_decayed_weights, optim.apply_update]


if __name__ == "__main__":
    minigrad.manual_seed(0)
    train, held_out = data.stratified_split(data.load_digits(), fraction=0.2, seed=0)
    model = nn.MLP([64, 64, 10])
    optimizer = SlowSGD(model.parameters())
    for _ in range(10):
        for x, y in data.DataLoader(train, batch_size=32, shuffle=True, seed=0):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    with minigrad.no_grad():
        right = model(minigrad.Tensor(held_out.features)).argmax(axis=1) == minigrad.Tensor(held_out.labels)
    print(f"{right.mean().item():.1%} of the digits held out")
    print(optimizer.plan())
