-- What operators watch of all tenants' jobs: counts and ages, nothing of a tenant.
--   queued, running    jobs that wait for a worker, or have one or had one last
--   dead               jobs that were given up and are there yet
--   turns              turns that wait for a worker, those too that are due later
--   oldest_s           for how many seconds the oldest of those has been due; 0 where none is
--   workers            workers that have a job just now
create function fanfold.jobs_figures(out queued bigint, out running bigint, out dead bigint, out turns bigint,
                                     out oldest_s double precision, out workers bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
  select j.queued, j.running, d.dead, q.turns, q.oldest_s, j.workers
    from (select count(*) filter (where t.status = 'queued') as queued, count(*) filter (where t.status = 'running') as running,
                 count(distinct t.worker_id) filter (where t.lease_until > now()) as workers
            from fanfold.jobs t where t.status in ('queued', 'running')) j
   cross join (select count(*) as dead from fanfold.jobs t where t.status = 'dead') d
   cross join (select count(*) as turns,
                      coalesce(extract(epoch from now() - min(t.execute_after) filter (where t.execute_after <= now())), 0)
                        ::double precision as oldest_s
                 from fanfold.pgqueuer t where t.entrypoint = 'fanfold.turn' and t.status = 'queued') q
$f$
