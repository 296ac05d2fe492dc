"""What the audit log says of a tenant, as the database has it."""

import json
from typing import Any
from uuid import UUID

from tests.fixtures.app import Product
from tests.fixtures.database import connect


async def audited(product: Product, tenant_id: UUID | str) -> list[dict[str, Any]]:
    """Return the rows of a tenant, the oldest first."""
    connection = await connect(product.database.superuser_url)
    try:
        rows = await connection.fetch(
            "select * from fanfold.audit_events where tenant_id = $1::uuid order by id", str(tenant_id)
        )
    finally:
        await connection.close()
    return [
        {**row, "before": json.loads(row["before"] or "null"), "after": json.loads(row["after"] or "null")}
        for row in rows
    ]
