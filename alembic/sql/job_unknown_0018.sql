-- What a lost worker had under way: asked for, perhaps served, and nobody will ever tell.
create function fanfold.job_unknown(j fanfold.jobs) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $f$
  insert into fanfold.outcomes (tenant_id, request_id, kind, period_start, api_key_id, units, job_id, calls)
  select j.tenant_id, gen_random_uuid(), 'unknown', j.period_start, j.api_key_id, j.open_units, j.id, j.open_calls
   where j.open_calls > 0
$f$
