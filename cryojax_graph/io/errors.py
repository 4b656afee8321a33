"""The one error that a wrong input raises: which file, which place, what is wrong, what to do."""

from pathlib import Path


class InputError(Exception):
    """A file, or a value in it, that the program refuses.

    Args:
        file: the file that the user gave.
        place: where in it, e.g. ``row 3 of table particles, column rlnAngleRot``.
        cause: what is wrong there.
        remedy: what the user can do about it.
    """

    def __init__(self, file: str | Path, place: str, cause: str, remedy: str) -> None:
        # The four parts are the arguments of the exception, so that it survives pickling between
        # processes.
        super().__init__(str(file), place, cause, remedy)

    @property
    def file(self) -> str:
        """The file that the user gave."""
        return self.args[0]

    @property
    def place(self) -> str:
        """Where in the file."""
        return self.args[1]

    @property
    def cause(self) -> str:
        """What is wrong."""
        return self.args[2]

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.args[3]

    def __str__(self) -> str:
        """The four parts in one line."""
        return " ".join(f"{self.file}: {self.place}: {self.cause}; {self.remedy}".split())


def quote(value: object, longest: int = 60) -> str:
    """Foreign text made safe for one line of a message.

    Args:
        value: anything that came out of a file.
        longest: characters to keep.

    Returns:
        the text in quotes, without control characters, shortened in the middle.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}…{text[-half:]}"
    return "'" + "".join(c if c.isprintable() else "�" for c in text) + "'"


def row_place(index: int, *, table: str, column: str | None = None) -> str:
    """Name a row of a table as a user counts them.

    Args:
        index: row number from 0.
        table: name of the table, may be empty.
        column: name of the column, where one value is meant.

    Returns:
        e.g. ``row 3 of table particles, column rlnAngleRot``, counted from 1.
    """
    of_table = f" of table {table}" if table else ""
    in_column = f", column {column}" if column else ""
    return f"row {index + 1}{of_table}{in_column}"
