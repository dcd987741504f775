"""The rows of the data set ``toy``."""

PROBLEMS = (
    {"id": "triple", "ask": "Write triple(n): three times n.", "code": "def triple(n):\n    return 3 * n",
     "tests": ["assert triple(2) == 6", "assert triple(-1) == -3"]},
    {"id": "initials", "ask": "Write initials(name): the first letters of its words.",
     "code": "def initials(name):\n    return ''.join(word[0] for word in name.split())",
     "tests": ["assert initials('Ada Lovelace') == 'AL'"]},
    {"id": "evens", "ask": "Write evens(items): those that are even.",
     "code": "def evens(items):\n    return [x for x in items if x % 2 == 0]",
     "tests": ["assert evens([1, 2, 4]) == [2, 4]", "assert evens([]) == []"]},
)  # fmt: skip
