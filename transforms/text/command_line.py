"""The command that a person typed, and the one that would have been right."""

import dataclasses
import shlex

LONGEST = 2000  # characters of a command that is shown whole


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Words of a command."""

    program: str = ""  # what they follow, such as `molino names`
    words: tuple[str, ...] = ()  # options and their values, as they were typed
    # a text that the options suit, so that they cannot be changed for another one; "" where none is known
    suits: str = ""

    def names(self, option: str) -> bool:
        """Return whether an option, such as `--encoding`, is given."""
        return any(word == option or word.startswith(f"{option}=") for word in self.words)

    def again(self, **options: str) -> str:
        """Return the command as `changed` does, for after this one has published its run: it replaces that."""
        over = self.names("--output") and not (self.names("--overwrite") or self.names("--strict"))
        words = (*self.words, "--overwrite") if over else self.words
        return dataclasses.replace(self, words=words).changed(**options)

    def changed(self, **options: str) -> str:
        """Return the whole command with options of one value changed or added; these alone where it is long.

        >>> CommandLine("molino names", ("--input", "a b.csv", "--encoding=x")).changed(encoding="utf-8", delimiter=";")
        "molino names --input 'a b.csv' --encoding=utf-8 --delimiter ';'"
        """
        words, more = list(self.words), []
        for name, value in options.items():
            option = f"--{name.replace('_', '-')}"
            more += [option, value]
            at = next((i for i, word in enumerate(words) if word.split("=")[0] == option), None)
            if at is None:
                words += [option, value]
            elif "=" in words[at]:
                words[at] = f"{option}={value}"
            else:
                words[at + 1 : at + 2] = [value]
        whole = shlex.join([*self.program.split(), *words])
        return whole if self.words and len(whole) <= LONGEST else shlex.join(more)
