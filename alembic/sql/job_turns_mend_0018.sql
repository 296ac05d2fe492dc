-- Queues a turn for each tenant that has jobs and none queued: what a fault has lost is found again. Returns how many.
create function fanfold.job_turns_mend() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  many integer := 0;
  r record;
begin
  for r in select distinct t.tenant_id from fanfold.jobs t
            where t.status in ('queued', 'running')
              and not exists (select from fanfold.pgqueuer q
                               where q.dedupe_key = t.tenant_id::text and q.status in ('queued', 'picked'))
            order by 1  -- as whoever else queues several
  loop
    perform fanfold.job_turn_next(r.tenant_id, 1000);
    many := many + 1;
  end loop;
  return many;
end
$f$
