"""How far a training is, for who asks meanwhile."""


class Progress:
    """The share of a training that is done, what it is at, in words, and what of it an earlier attempt had done."""

    def __init__(self) -> None:
        self.share, self.text, self.parts = 0.0, "reading", (0, 1)
        self.resumed: list[str] = []

    def part(self, number: int, of: int) -> None:
        """Let what is shown from now on be one of several parts, which take equally long."""
        self.parts = number, of

    def show(self, done: float, total: float, text: str | float) -> None:
        """Tell how far the training, or a part of it, is; a number is its mean loss."""
        number, of = self.parts
        self.share = (number + done / total) / of
        self.text = text if isinstance(text, str) else f"training, loss {text:.4f}"

    def how_far(self) -> tuple[float, str]:
        """Return the share that is done, and what a person may read."""
        return self.share, self.text
