-- Gives back the units of reservations whose lease is over, at most `p_most` of them; returns how many.
-- One sweeper at a time: who does not get the advisory lock returns 0 at once.
create function fanfold.ledger_sweep(p_most integer default 1000) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexonlyscan = off
set enable_bitmapscan = off
as $function$
declare
  r_tenants uuid[]; r_ids uuid[]; r_periods date[];
  swept integer;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('fanfold.ledger_sweep', 0)) then
    return 0;
  end if;
  select array_agg(e.tenant_id), array_agg(e.id), array_agg(e.period_start) into r_tenants, r_ids, r_periods
    from (select t.tenant_id, t.id, t.period_start from fanfold.reservations t
           where t.expires_at < now() order by t.expires_at limit p_most) e;
  if r_ids is null then
    return 0;
  end if;
  -- Quota rows first and in key order, as in ledger_flush: deleting first would deadlock against it.
  perform from (select distinct w.tenant_id, w.period_start from unnest(r_tenants, r_periods) w(tenant_id, period_start)
                 order by w.tenant_id, w.period_start) w
         cross join lateral (select from fanfold.quota_periods t
                              where t.tenant_id = w.tenant_id and t.period_start = w.period_start
                                for no key update) t;
  -- What was settled while this waited is gone by now: only rows that DELETE returns move units.
  with gone as (
       delete from fanfold.reservations t
        using unnest(r_tenants, r_ids) x(tenant_id, id)
        where t.tenant_id = x.tenant_id and t.id = x.id and t.expires_at < now()
       returning t.tenant_id, t.period_start, t.units),
  freed as (
       update fanfold.quota_periods t set reserved = t.reserved - s.units
         from (select g.tenant_id, g.period_start, sum(g.units)::bigint as units from gone g group by 1, 2) s
        where t.tenant_id = s.tenant_id and t.period_start = s.period_start)
  select count(*) into swept from gone;
  return swept;
end
$function$
