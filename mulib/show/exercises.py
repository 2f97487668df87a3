"""What the checkers of the exercises have in common: they answer in a sentence, whatever they are given."""

import functools

from mulib.errors import InputError


def checker(check):
    """Decorate a checker, a function of the reader's answer that returns "correct" or "not yet: ...".

    No answer, an answer that returns nothing, and one that raises are told in a sentence, not in a traceback.

    >>> checker(lambda double: "correct" if double(2) == 4 else "not yet: double 2")(None)
    'not yet: there is no answer here, got None'
    """

    @functools.wraps(check)
    def answered(answer):
        if answer is None:
            return "not yet: there is no answer here, got None"

        @functools.wraps(answer, updated=())
        def given(*arguments, **options):
            found = answer(*arguments, **options)
            if found is None:
                raise InputError("it returned None: is there a `return`?")
            return found

        try:  # a network is an answer as it is
            return check(answer if hasattr(answer, "parameters") or not callable(answer) else given)
        except Exception as error:
            return f"not yet: with your answer there was {type(error).__name__}: {error}"

    return answered


def refuses(check, right, *wrong):
    """Raise AssertionError where a checker refuses the right answer, or takes a wrong one: nothing, a constant, the
    right answer with its sign turned, doubled or with one added, or one of `wrong`. Give None for `right` where such a
    change may be right, too, as of a threshold.

    >>> refuses(checker(lambda double: "correct" if double(2) == 4 else "not yet: double 2"), lambda x: 2 * x)
    """
    said = "" if right is None else check(right)
    assert not said.lower().startswith("not yet"), f"{check.__name__} says {said!r} to the answer that is right"
    constants = [lambda *_, value=value, **__: value for value in (None, 0, 1, 0.5, -1.0, [])]
    changes = (lambda y: -y, lambda y: y / 0.5, lambda y: y + 1) if right is not None else ()
    changed = [_after(change, right) for change in changes]
    for answer in (None, *constants, *changed, *wrong):
        said = check(answer)
        assert said.lower().startswith("not yet"), f"{check.__name__} says {said!r} to {answer}"


def _after(change, right):
    """A wrong answer made of the right one, a function or a number."""
    if not callable(right):
        return change(right)
    return functools.wraps(right, updated=())(lambda *arguments, **options: change(right(*arguments, **options)))
