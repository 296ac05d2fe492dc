-- Gives a job up. Its units are free with the sweeper's next round.
create function fanfold.job_dead(j fanfold.jobs, p_error jsonb) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $f$
  update fanfold.reservations r set expires_at = now() where r.tenant_id = j.tenant_id and r.id = j.id;
  select fanfold.job_end(j.tenant_id, j.id, 'dead', p_error, null, null)
$f$
