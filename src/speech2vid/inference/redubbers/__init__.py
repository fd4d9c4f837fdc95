"""Re-dubbing methods: each puts a generated face into a filmed one, one method a file."""

from speech2vid.inference.redubbers.base import FilmedFace, Person, Redubber

__all__ = ["FilmedFace", "Person", "Redubber"]
