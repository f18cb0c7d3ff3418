"""What tests of the command share: running it in this process, and small runs of it."""

from minigrad import cli

SMALL = ("--data", "moons", "--epochs", "3", "--model", "mlp:8", "--batch-size", "16")


def run(capsys, *arguments):
    """Exit status, standard output and standard error of the command."""
    status = cli.main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


def train(capsys, *arguments):
    """What a small run prints."""
    status, out, err = run(capsys, "train", *SMALL, *arguments)
    assert (status, err) == (0, "")
    return out
