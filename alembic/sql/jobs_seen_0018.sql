-- How far the events of these jobs go, for whoever watches them; of a job that is gone there is no row.
create function fanfold.jobs_seen(p_tenants uuid[], p_jobs uuid[]) returns table (tenant_id uuid, id uuid, seq bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
  select t.tenant_id, t.id, t.seq
    from unnest(p_tenants, p_jobs) w(tenant_id, id)
   cross join lateral (select j.tenant_id, j.id, j.seq from fanfold.jobs j
                        where j.tenant_id = w.tenant_id and j.id = w.id limit 1) t
$f$
