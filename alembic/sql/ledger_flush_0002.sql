-- One flush of the group commit: every waiting reserve and settle of a process, in one call and one commit.
--
-- The caller numbers the quota rows that the batch touches, once each; an item refers to one by that number, so its
-- tenant has a single source. An id stands in a batch once (the caller sees to it). For each item, in order of arrival:
--   status    0 ok, 1 insufficient, 2 duplicate, 3 late (billed from the free part), 4 unbilled, 5 gone
--   remaining units of the period that are neither used nor held after this item, never below 0
--
-- The order is lock, look, decide, write: whoever moves units locks the quota rows first, in key order; only then does
-- DELETE ... RETURNING say which units move. A sweeper that deleted first would deadlock against this.
create function fanfold.ledger_flush(
  p_tenants uuid[], p_periods date[],
  p_items fanfold.ledger_item[],
  p_events fanfold.ledger_event[],
  out status smallint[], out remaining bigint[])
language plpgsql security definer
-- Temporary tables come first in any path that does not name pg_temp last.
set search_path = pg_catalog, pg_temp
-- Pinned plans: one made while reservations is empty (after a quiet night) would join by a filter over a full scan.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexonlyscan = off
set enable_bitmapscan = off
as $function$
declare
  op_reserve constant smallint := 1;
  op_settle constant smallint := 2;
  s_ok constant smallint := 0;
  s_insufficient constant smallint := 1;
  s_duplicate constant smallint := 2;
  s_late constant smallint := 3;
  s_unbilled constant smallint := 4;
  s_gone constant smallint := 5;
  n_items constant integer := cardinality(p_items);
  n_quotas constant integer := cardinality(p_tenants);
  -- for each quota row
  q_limit bigint[]; q_overage boolean[]; q_reserved bigint[]; q_used bigint[];
  -- for each item
  i_operation smallint[]; i_quota integer[]; i_id uuid[]; i_units bigint[]; i_key uuid[];
  i_known boolean[] := array_fill(false, array[n_items]);           -- reserve: the reservation is there already
  i_held bigint[] := array_fill(null::bigint, array[n_items]);      -- settle: units of the reservation it ended
  i_due bigint[] := array_fill(0::bigint, array[n_items]);          -- settle: units of the events to write
  i_events integer[] := array_fill(0, array[n_items]);              -- settle: how many events came
  i_new integer[] := array_fill(0, array[n_items]);                 -- settle: how many of them are not there yet
  i_refused boolean[] := array_fill(false, array[n_items]);         -- settle: they are there, as unbilled
  found_rows integer;
  reserves integer := 0;
  written bigint;
  expected bigint;
  any_late boolean := false;
  q integer;
  fits boolean;
  r record;
begin
  status := array_fill(s_ok, array[n_items]);
  remaining := array_fill(0::bigint, array[n_items]);
  select array_agg(x.operation), array_agg(x.quota), array_agg(x.id), array_agg(x.units), array_agg(x.api_key_id)
    into i_operation, i_quota, i_id, i_units, i_key
    from unnest(p_items) x;

  -- 1. Make the quota rows that are missing. Before any lock: a row held while waiting for another's insert could deadlock.
  select count(*) into found_rows
    from unnest(p_tenants, p_periods) w(tenant_id, period_start)
   cross join lateral (select from fanfold.quota_periods t
                        where t.tenant_id = w.tenant_id and t.period_start = w.period_start limit 1) t;
  if found_rows < n_quotas then
    insert into fanfold.quota_periods (tenant_id, period_start, granted, ceiling)
    select w.tenant_id, w.period_start, 0, 0                          -- the limits are written below
      from unnest(p_tenants, p_periods) w(tenant_id, period_start)
      join fanfold.tenants t on t.id = w.tenant_id
     order by w.tenant_id, w.period_start
        on conflict do nothing;
  end if;

  -- 2. Lock them in key order.
  select count(*), array_agg(l.reserved order by l.place), array_agg(l.used order by l.place)
    into found_rows, q_reserved, q_used
    from (select w.place, t.reserved, t.used
            from (select * from unnest(p_tenants, p_periods) with ordinality w(tenant_id, period_start, place)
                   order by w.tenant_id, w.period_start) w
           cross join lateral (select t.reserved, t.used from fanfold.quota_periods t
                                where t.tenant_id = w.tenant_id and t.period_start = w.period_start
                                  for no key update) t) l;
  if found_rows < n_quotas then
    raise exception 'ledger: no such tenant' using errcode = 'FF002';
  end if;

  -- 3. What the tenants may use, as it is now: the statement's snapshot is taken after the locks.
  select array_agg(l.units order by w.place), array_agg(l.overage order by w.place)
    into q_limit, q_overage
    from unnest(p_tenants) with ordinality w(tenant_id, place)
   cross join lateral (
         select coalesce((t.limit_overrides ->> 'monthly_units')::bigint, p.monthly_units) as units,
                coalesce((t.limit_overrides ->> 'overage_allowed')::boolean, p.overage_allowed) as overage
           from fanfold.tenants t
          cross join lateral (select s.monthly_units, s.overage_allowed
                                from fanfold.plans s where s.code = t.plan limit 1) p
          where t.id = w.tenant_id limit 1) l;

  -- 4. What is there already. LATERAL with LIMIT 1 keeps each look-up an index probe.
  if op_reserve = any (i_operation) then
    for r in select x.place
               from unnest(i_operation, i_quota, i_id) with ordinality x(operation, quota, id, place)
              cross join lateral (select from fanfold.reservations t
                                   where t.tenant_id = p_tenants[x.quota] and t.id = x.id limit 1) t
              where x.operation = op_reserve
    loop
      i_known[r.place] := true;
    end loop;
  end if;
  if op_settle = any (i_operation) then
    for r in delete from fanfold.reservations t
              using unnest(i_operation, i_quota, i_id) with ordinality x(operation, quota, id, place)
              where x.operation = op_settle and t.tenant_id = p_tenants[x.quota] and t.id = x.id
                and t.period_start = p_periods[x.quota]
             returning x.place, t.units
    loop
      i_held[r.place] := r.units;
    end loop;
  end if;
  for r in select x.item, sum(x.units)::bigint as units, count(*)::integer as events
             from unnest(p_events) x group by x.item
  loop
    i_due[r.item] := r.units;
    i_events[r.item] := r.events;
    i_new[r.item] := r.events;
    any_late := any_late or i_held[r.item] is null;
  end loop;
  if any_late then                      -- of a settle without its reservation only events that are not there count
    for r in select x.item,
                    coalesce(sum(x.units) filter (where t.outcome is null), 0)::bigint as units,
                    (count(*) filter (where t.outcome is null))::integer as events,
                    coalesce(bool_or(t.outcome = 'unbilled'), false) as refused
               from unnest(p_events) x
               left join lateral (
                    select t.outcome from fanfold.usage_events t
                     where t.tenant_id = p_tenants[i_quota[x.item]] and t.request_id = i_id[x.item]
                       and t.call_index = x.call_index and t.meter = x.meter
                       and t.period_start = p_periods[i_quota[x.item]] limit 1) t on true
              where i_held[x.item] is null
              group by x.item
    loop
      i_due[r.item] := r.units;
      i_new[r.item] := r.events;
      i_refused[r.item] := r.refused;
    end loop;
  end if;

  -- 5. Decide one by one, in order of arrival: a big request that does not fit refuses no smaller one after it.
  for i in 1 .. n_items loop
    q := i_quota[i];
    if i_operation[i] = op_reserve then
      fits := q_overage[q] or i_units[i] = 0 or i_units[i] <= q_limit[q] - q_reserved[q] - q_used[q];
      if i_known[i] then
        status[i] := s_duplicate;
      elsif fits then
        q_reserved[q] := q_reserved[q] + i_units[i];
        reserves := reserves + 1;
      else
        status[i] := s_insufficient;
      end if;
    elsif i_held[i] is null and i_new[i] = 0 then                     -- nothing left to move, nothing left to write
      status[i] := case when i_events[i] = 0 then s_gone when i_refused[i] then s_unbilled else s_duplicate end;
    else
      q_reserved[q] := q_reserved[q] - coalesce(i_held[i], 0);
      -- What was held is billed even where the limit has sunk below it; only what goes beyond it must be free.
      fits := i_due[i] <= coalesce(i_held[i], 0) or q_overage[q]
              or i_due[i] <= q_limit[q] - q_reserved[q] - q_used[q];
      if fits then
        q_used[q] := q_used[q] + i_due[i];
      end if;
      status[i] := case when not fits then s_unbilled when i_held[i] is null then s_late else s_ok end;
    end if;
    remaining[i] := greatest(q_limit[q] - q_reserved[q] - q_used[q], 0);
  end loop;

  -- 6. Write, each table once. A count that differs means an id twice: the whole flush is undone, and sent in halves.
  if reserves > 0 then
    insert into fanfold.reservations (tenant_id, id, period_start, api_key_id, units, expires_at)
    select p_tenants[x.quota], x.id, p_periods[x.quota], x.api_key_id, x.units, now() + make_interval(secs => x.lease_s)
      from unnest(p_items, status) x(operation, quota, id, units, lease_s, api_key_id, outcome)
     where x.operation = op_reserve and x.outcome = s_ok
        on conflict do nothing;
    get diagnostics written = row_count;
    if written <> reserves then
      raise exception 'ledger: one id twice in a flush' using errcode = 'FF001';
    end if;
  end if;
  if cardinality(p_events) > 0 then
    insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome,
                                      upstream_id, upstream, quantity, api_key_id)
    select p_tenants[i_quota[x.item]], i_id[x.item], x.call_index, x.meter, p_periods[i_quota[x.item]],
           case when status[x.item] = s_unbilled then 0 else x.units end,
           case when status[x.item] = s_unbilled then 'unbilled' else 'billed' end,
           x.upstream_id, x.upstream, x.quantity, i_key[x.item]
      from unnest(p_events) x
     where status[x.item] in (s_ok, s_late, s_unbilled)
        on conflict do nothing;
    get diagnostics written = row_count;
    select coalesce(sum(x.events), 0) into expected from unnest(i_new, status) x(events, outcome)
     where x.outcome in (s_ok, s_late, s_unbilled);
    if written <> expected then
      raise exception 'ledger: one usage event twice in a flush' using errcode = 'FF001';
    end if;
  end if;
  -- The ceiling is the limit, or what a lowered limit found already taken; it sinks as units return. The old sums in
  -- it, not the new ones, keep the table's CHECK a guard over the decisions above.
  update fanfold.quota_periods t
     set reserved = x.reserved, used = x.used, granted = x.granted,
         ceiling = case when not x.overage
                        then greatest(x.granted, least(t.reserved + t.used, x.reserved + x.used)) end
    from unnest(p_tenants, p_periods, q_reserved, q_used, q_limit, q_overage)
         x(tenant_id, period_start, reserved, used, granted, overage)
   where t.tenant_id = x.tenant_id and t.period_start = x.period_start;
end
$function$
