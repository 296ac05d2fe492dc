"""What a lost worker had under way, as a tenant and as operators see it."""

from tests.fixtures.app import Product
from tests.jobs.making import answered, claim, create
from tests.usage.books import Books


async def test_an_outcome_of_a_job_names_the_job_and_its_calls(product: Product, books: Books):
    tenant = await product.tenant()
    connection = await books.connect()
    try:
        job = await create(product.app.state.job_lane, tenant.id)
        taken = await claim(connection, tenant.id)
        assert taken is not None
        beat = "select fanfold.job_beat($1, $2, $3, 0, 3, 3, false)"
        await connection.execute(beat, tenant.id, job.id, taken.fence)
        await product.app.state.job_lane.record(taken, [answered(0)])
        assert await claim(connection, tenant.id) is not None
    finally:
        await connection.close()
    (outcome,) = (await tenant.http.get("/v1/usage/outcomes")).json()["data"]
    assert (outcome["kind"], outcome["job_id"], outcome["calls"], outcome["units"]) == (
        "unknown", str(job.id), 2, 2,
    )  # fmt: skip
    assert outcome["request_id"] != str(job.id)
