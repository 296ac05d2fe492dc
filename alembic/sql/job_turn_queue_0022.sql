-- Queues a turn of a tenant, unless one waits. One that is picked, and has not looked for a job yet, has the key still:
-- it is waited for, or it waits for us, and then sees what we commit. One that is due before is locked, and not written.
create function fanfold.job_turn_queue(p_tenant uuid, p_due timestamptz) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $f$
  insert into fanfold.pgqueuer as t (priority, created, updated, execute_after, entrypoint, dedupe_key, payload, status)
  values (0, now(), now(), p_due, 'fanfold.turn', p_tenant::text, convert_to(p_tenant::text, 'UTF8'), 'queued')
  on conflict (dedupe_key) where ((status = any (array['queued'::fanfold.pgqueuer_status, 'picked'::fanfold.pgqueuer_status]))
                                  and dedupe_key is not null)
  do update set execute_after = excluded.execute_after where t.execute_after > excluded.execute_after
$f$
