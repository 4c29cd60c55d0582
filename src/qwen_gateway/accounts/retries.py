"""How many second tries all requests together may have, so that a storm of failures is not answered by a storm of
retries."""

CAPACITY = 5.0
PER_REQUEST = 0.15
PER_SECOND = 1 / 60


class RetryBudget:
    """A balance of tries, at first and at most 5. Between two looks at it comes back 0.15 for each request, or one a
    minute where that is more: so a gateway that is hardly used may retry, and in a storm (a request for every nine
    seconds between two looks, or more) a hundred requests or more make at most 1.2 times as many attempts. In any span
    of t seconds with n requests there are at most 5 + 0.15 n + t / 60 retries.
    """

    def __init__(self) -> None:
        self._balance = CAPACITY
        self._requests = 0
        self._looked: float | None = None

    def asked(self) -> None:
        """A request came. Its first attempt is free."""
        self._requests += 1

    def may_retry(self, now: float) -> bool:
        """Whether one more attempt is allowed; it then counts as made."""
        passed = 0.0 if self._looked is None else max(0.0, now - self._looked)
        gained = max(self._requests * PER_REQUEST, passed * PER_SECOND)
        self._balance = min(CAPACITY, self._balance + gained)
        self._requests, self._looked = 0, now
        if self._balance < 1:
            return False
        self._balance -= 1
        return True
