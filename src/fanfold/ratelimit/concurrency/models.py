"""Who holds how many slots of which limit, until when."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Text
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class ConcurrencyLease(Base):
    """What one process holds of one key. Unlogged: after a crash of the server every process says anew what it has."""

    __tablename__ = "concurrency_leases"
    __table_args__ = (CheckConstraint("held >= 0", name="held"), {"prefixes": ["UNLOGGED"]})

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    process_id: Mapped[UUID] = mapped_column(primary_key=True)
    held: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
