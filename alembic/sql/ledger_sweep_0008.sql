-- Gives back the units of reservations whose lease is over, at most `p_most` of them; returns how many. Each is listed as
-- an unknown outcome: nobody told what became of its calls.
-- One sweeper at a time: who does not get the advisory lock returns 0 at once. The units are moved by ledger_commit, so
-- what was settled while this waited for the locks is gone by then and moves nothing.
create function fanfold.ledger_sweep(p_most integer default 1000) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexonlyscan = off
set enable_bitmapscan = off
as $function$
declare
  r_ids uuid[]; r_quotas integer[]; r_budgets integer[];
  q_tenants uuid[]; q_periods date[];
  k_quotas integer[]; k_keys uuid[];
  statuses smallint[];
begin
  if not pg_try_advisory_xact_lock(hashtextextended('fanfold.ledger_sweep', 0)) then
    return 0;
  end if;
  with expired as (
       select t.tenant_id, t.id, t.period_start, t.api_key_id
         from fanfold.reservations t where t.expires_at < now() order by t.expires_at limit p_most),
  numbered as (
       select e.*, dense_rank() over (order by e.tenant_id, e.period_start)::integer as quota,
              dense_rank() over (order by e.api_key_id is null, e.tenant_id, e.period_start, e.api_key_id)::integer
                as budget
         from expired e)
  select array_agg(n.id order by n.id), array_agg(n.quota order by n.id),
         array_agg(case when n.api_key_id is not null then n.budget end order by n.id),
         (select array_agg(d.tenant_id order by d.quota) from (select distinct quota, tenant_id from numbered) d),
         (select array_agg(d.period_start order by d.quota) from (select distinct quota, period_start from numbered) d),
         (select array_agg(d.quota order by d.budget)
            from (select distinct budget, quota from numbered where api_key_id is not null) d),
         (select array_agg(d.api_key_id order by d.budget)
            from (select distinct budget, api_key_id from numbered where api_key_id is not null) d)
    into r_ids, r_quotas, r_budgets, q_tenants, q_periods, k_quotas, k_keys
    from numbered n;
  if r_ids is null then
    return 0;
  end if;
  select c.status into statuses
    from fanfold.ledger_commit(
         q_tenants, q_periods, coalesce(k_quotas, '{}'), coalesce(k_keys, '{}'),
         (select array_agg(row(3, x.quota, x.budget, x.id, 0, 0)::fanfold.ledger_operation)
            from unnest(r_quotas, r_budgets, r_ids) x(quota, budget, id)),
         '{}', '{}', '{}') c;
  return cardinality(array_positions(statuses, 0::smallint));
end
$function$
