"""What the services of accounts hand each other."""

from collections.abc import Awaitable, Callable

from fanfold.users.models import User

BeforeLock = Callable[[User], Awaitable[None]]
