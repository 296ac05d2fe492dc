-- One flush of the group commit: every waiting operation of a process, in one call and one commit.
--
-- The caller numbers the quota rows that the batch touches, and the API keys' rows, once each; an item refers to them by
-- number, so its tenant has a single source. An id, and an idempotency key, whether claimed or marked, stands in a batch
-- once (the caller sees to it).
-- Operations: 1 reserve; 2 settle, without readings a release; 3 lapse, the end of an expired lease; 4 charge, readings
-- without a reservation; 5 part: readings of a job, whose reservation lives on with so much less (0 does nothing). For each
-- item, in order of arrival:
--   status          0 ok, 1 insufficient, 2 duplicate, 3 late (billed from the free part), 4 unbilled, 5 gone,
--                   6 claimed (another request has the idempotency key), 7 over the key's budget
--   remaining       units that are neither used nor held after this item, never below 0; null where overage is allowed;
--                   for 7 those of the key's budget
--   quota_warning, budget_warning   0, 80 or 100: how much of it is used, in steps
--
-- The order is lock, look, decide, write: whoever moves units locks the quota rows first, then the balances, then the
-- API keys' rows, then the idempotency keys, each in key order; only then does DELETE ... RETURNING say which units move. Whoever deleted first would
-- deadlock against this.
--
-- A period's units come from its limit (plan or override, plus grants of the period) and, beyond it, from the tenant's
-- prepaid balance. `base` is the limit, or what a lowered limit found already taken; it sinks as units return. What is
-- taken beyond the base is drawn from the balance, so units that return go back to it first.
create function fanfold.ledger_commit(
  p_tenants uuid[], p_periods date[],
  p_budget_quotas integer[], p_budget_keys uuid[],
  p_items fanfold.ledger_operation[],
  p_readings fanfold.ledger_reading[],
  p_claims fanfold.ledger_claim[],
  p_marks fanfold.ledger_mark[],
  out status smallint[], out remaining bigint[], out quota_warning smallint[], out budget_warning smallint[])
language plpgsql security definer
-- Temporary tables come first in any path that does not name pg_temp last.
set search_path = pg_catalog, pg_temp
-- Pinned plans: one made while reservations is empty (after a quiet night) would join by a filter over a full scan.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexonlyscan = off
set enable_bitmapscan = off
as $function$
#variable_conflict use_variable
declare
  op_reserve constant smallint := 1;
  op_settle constant smallint := 2;
  op_lapse constant smallint := 3;
  op_charge constant smallint := 4;
  op_part constant smallint := 5;
  s_ok constant smallint := 0;
  s_insufficient constant smallint := 1;
  s_duplicate constant smallint := 2;
  s_late constant smallint := 3;
  s_unbilled constant smallint := 4;
  s_gone constant smallint := 5;
  s_claimed constant smallint := 6;
  s_budget constant smallint := 7;
  n_items constant integer := cardinality(p_items);
  n_quotas constant integer := cardinality(p_tenants);
  n_budgets constant integer := cardinality(p_budget_keys);
  -- for each quota row
  q_limit bigint[]; q_base bigint[]; q_overage boolean[]; q_reserved bigint[]; q_used bigint[]; q_drawn bigint[];
  q_warned smallint[]; q_level smallint[] := array_fill(0::smallint, array[n_quotas]);
  q_balance integer[] := array_fill(null::integer, array[n_quotas]);
  q_reserved_then bigint[]; q_used_then bigint[]; q_free bigint[];  -- of a plain flush
  -- for each prepaid balance
  b_tenants uuid[]; b_granted bigint[]; b_drawn bigint[];
  -- for each API key's row
  k_limit bigint[]; k_base bigint[]; k_reserved bigint[]; k_used bigint[];
  k_warned smallint[]; k_level smallint[] := array_fill(0::smallint, array[n_budgets]);
  k_reserved_then bigint[]; k_used_then bigint[];                   -- of a plain flush
  -- for each item
  i_operation smallint[]; i_quota integer[]; i_budget integer[]; i_id uuid[];
  i_holds bigint[];                                                 -- units that it asks to hold
  i_known boolean[] := array_fill(false, array[n_items]);           -- reserve: the reservation is there already
  i_claimed boolean[] := array_fill(false, array[n_items]);         -- reserve: its idempotency key is another request's
  i_held bigint[] := array_fill(null::bigint, array[n_items]);      -- units of the reservation it ended
  i_due bigint[] := array_fill(0::bigint, array[n_items]);          -- units of the readings to write
  i_readings integer[] := array_fill(0, array[n_items]);            -- how many readings came
  i_new integer[] := array_fill(0, array[n_items]);                 -- how many of them are not there yet
  i_refused boolean[] := array_fill(false, array[n_items]);         -- they are there, as unbilled
  i_closed boolean[] := array_fill(false, array[n_items]);          -- late, and a person or a retry has decided already
  i_billed bigint[] := array_fill(0::bigint, array[n_items]);       -- units billed by this item
  e_there boolean[] := '{}';            -- for each reading of a settle without its reservation: whether it is there already
  c_ended uuid[] := '{}';               -- requests whose claims on idempotency keys have ended: others may take these
  found_rows integer;
  reserves integer;                     -- how many there are
  ended integer := 0;                   -- reservations that were ended
  written bigint;
  expected bigint;
  any_missing boolean;
  any_prepaid boolean;
  any_known boolean := false;
  any_claimed boolean := false;
  any_late boolean := false;
  is_plain boolean;
  any_warning boolean := false;
  any_outcome boolean := false;
  q integer;
  k integer;
  b integer;
  held bigint;
  holds bigint;
  bills bigint;
  beyond bigint;
  free_of_quota bigint;
  free_of_budget bigint;
  taken bigint;
  drawn bigint;
  moves boolean;
  r record;
begin
  status := array_fill(s_ok, array[n_items]);
  remaining := array_fill(null::bigint, array[n_items]);
  quota_warning := array_fill(0::smallint, array[n_items]);
  budget_warning := quota_warning;
  select array_agg(x.operation), array_agg(x.quota), array_agg(x.budget), array_agg(x.id),
         array_agg(case when x.operation = op_reserve then x.units else 0 end),
         count(*) filter (where x.operation = op_reserve)
    into i_operation, i_quota, i_budget, i_id, i_holds, reserves
    from unnest(p_items) x;

  -- 1. Make the rows that are missing. Before any lock: a row held while waiting for another's insert could deadlock.
  select coalesce(bool_or(t.there is null), false), coalesce(bool_or(g.there), false) into any_missing, any_prepaid
    from unnest(p_tenants, p_periods) w(tenant_id, period_start)
    left join lateral (select true as there from fanfold.quota_periods t
                        where t.tenant_id = w.tenant_id and t.period_start = w.period_start limit 1) t on true
    left join lateral (select true as there from fanfold.grants g
                        where g.tenant_id = w.tenant_id and g.period_start is null limit 1) g on true;
  if any_missing then
    insert into fanfold.quota_periods (tenant_id, period_start, granted, ceiling)
    select w.tenant_id, w.period_start, 0, 0                          -- the limits are written below
      from unnest(p_tenants, p_periods) w(tenant_id, period_start)
     cross join lateral (select from fanfold.tenants n where n.id = w.tenant_id limit 1) n
     order by w.tenant_id, w.period_start
        on conflict do nothing;
  end if;
  if any_prepaid then
    insert into fanfold.prepaid_balances (tenant_id)
    select w.tenant_id
      from (select distinct x.tenant_id from unnest(p_tenants) x(tenant_id)) w
     cross join lateral (select from fanfold.grants g
                          where g.tenant_id = w.tenant_id and g.period_start is null limit 1) g
      left join lateral (select true as there from fanfold.prepaid_balances t
                          where t.tenant_id = w.tenant_id limit 1) t on true
     where t.there is null
     order by w.tenant_id
        on conflict do nothing;
  end if;
  if n_budgets > 0 then
    insert into fanfold.key_periods (tenant_id, api_key_id, period_start)
    select p_tenants[w.quota], w.api_key_id, p_periods[w.quota]
      from unnest(p_budget_quotas, p_budget_keys) w(quota, api_key_id)
      left join lateral (select true as there from fanfold.key_periods t
                          where t.tenant_id = p_tenants[w.quota] and t.api_key_id = w.api_key_id
                            and t.period_start = p_periods[w.quota] limit 1) t on true
     where t.there is null
     order by 1, 2, 3
        on conflict do nothing;
  end if;

  -- 2. Lock them, each table in key order.
  select count(*), array_agg(l.reserved order by l.place), array_agg(l.used order by l.place),
         array_agg(l.prepaid order by l.place), array_agg(l.warned order by l.place)
    into found_rows, q_reserved, q_used, q_drawn, q_warned
    from (select w.place, t.*
            from (select * from unnest(p_tenants, p_periods) with ordinality w(tenant_id, period_start, place)
                   order by w.tenant_id, w.period_start) w
           cross join lateral (select t.reserved, t.used, t.prepaid, t.warned from fanfold.quota_periods t
                                where t.tenant_id = w.tenant_id and t.period_start = w.period_start
                                  for no key update) t) l;
  if found_rows < n_quotas then
    raise exception 'ledger: no such tenant' using errcode = 'FF002';
  end if;
  if any_prepaid then
    select array_agg(l.tenant_id), array_agg(l.drawn) into b_tenants, b_drawn
      from (select w.tenant_id, t.drawn
              from (select distinct x.tenant_id from unnest(p_tenants) x(tenant_id) order by x.tenant_id) w
             cross join lateral (select t.drawn from fanfold.prepaid_balances t
                                  where t.tenant_id = w.tenant_id for no key update) t) l;
  end if;
  if n_budgets > 0 then
    select array_agg(l.reserved order by l.place), array_agg(l.used order by l.place),
           array_agg(l.warned order by l.place)
      into k_reserved, k_used, k_warned
      from (select w.place, t.*
              from (select p_tenants[x.quota] as tenant_id, x.api_key_id, p_periods[x.quota] as period_start, x.place
                      from unnest(p_budget_quotas, p_budget_keys) with ordinality x(quota, api_key_id, place)
                     order by 1, 2, 3) w
             cross join lateral (select t.reserved, t.used, t.warned from fanfold.key_periods t
                                  where t.tenant_id = w.tenant_id and t.api_key_id = w.api_key_id
                                    and t.period_start = w.period_start for no key update) t) l;
  end if;
  -- A period's end parts a request from its retry: then only the row of their key keeps one behind the other.
  if cardinality(p_claims) + cardinality(p_marks) > 0 then
    perform from (select p_tenants[i_quota[c.item]] as tenant_id, c.route, c.key from unnest(p_claims) c
                  union
                  select p_tenants[i_quota[m.item]], m.route, m.key from unnest(p_marks) m
                   order by 1, 2, 3) w
           cross join lateral (select from fanfold.idempotency_keys t
                                where t.tenant_id = w.tenant_id and t.route = w.route and t.key = w.key
                                  for no key update) t;
  end if;

  -- 3. What may be used, as it is now: a statement's snapshot is taken after the locks before it.
  select array_agg(l.units order by w.place), array_agg(l.overage order by w.place)
    into q_limit, q_overage
    from unnest(p_tenants, p_periods) with ordinality w(tenant_id, period_start, place)
   cross join lateral (
         select greatest(coalesce((t.limit_overrides ->> 'monthly_units')::bigint, p.monthly_units)
                         + (select coalesce(sum(g.units), 0)::bigint from fanfold.grants g
                             where g.tenant_id = w.tenant_id and g.period_start = w.period_start), 0) as units,
                coalesce((t.limit_overrides ->> 'overage_allowed')::boolean, p.overage_allowed) as overage
           from fanfold.tenants t
          cross join lateral (select s.monthly_units, s.overage_allowed
                                from fanfold.plans s where s.code = t.plan limit 1) p
          where t.id = w.tenant_id limit 1) l;
  if b_tenants is not null then
    select array_agg((select greatest(coalesce(sum(g.units), 0)::bigint, 0) from fanfold.grants g
                       where g.tenant_id = w.tenant_id and g.period_start is null) order by w.place)
      into b_granted
      from unnest(b_tenants) with ordinality w(tenant_id, place);
    select array_agg(array_position(b_tenants, w.tenant_id) order by w.place) into q_balance
      from unnest(p_tenants) with ordinality w(tenant_id, place);
  end if;
  if n_budgets > 0 then
    select array_agg(l.budget_units order by w.place) into k_limit
      from unnest(p_budget_quotas, p_budget_keys) with ordinality w(quota, api_key_id, place)
      left join lateral (select t.budget_units from fanfold.api_keys t
                          where t.tenant_id = p_tenants[w.quota] and t.id = w.api_key_id limit 1) l on true;
  end if;
  q_base := q_limit;
  for i in 1 .. n_quotas loop
    taken := q_reserved[i] + q_used[i];
    q_base[i] := greatest(q_limit[i], taken - q_drawn[i]);
    drawn := case when q_overage[i] then 0 else greatest(taken - q_base[i], 0) end;
    b := q_balance[i];
    if b is not null then
      b_drawn[b] := b_drawn[b] + drawn - q_drawn[i];
    end if;
    q_drawn[i] := drawn;
  end loop;
  k_base := k_limit;
  for i in 1 .. n_budgets loop
    k_base[i] := greatest(k_limit[i], case when k_limit[i] is not null then k_reserved[i] + k_used[i] end);
  end loop;

  -- 4. What is there already. LATERAL with LIMIT 1 keeps each look-up an index probe. Reserves are nearly always new, and
  -- one probe with all ids of a quota row costs a fraction of one for each.
  if exists (select from (select x.quota, array_agg(x.id) as ids
                            from unnest(i_operation, i_quota, i_id) x(operation, quota, id)
                           where x.operation = op_reserve group by x.quota) x
              cross join lateral (select from fanfold.reservations t
                                   where t.tenant_id = p_tenants[x.quota] and t.id = any (x.ids) limit 1) t) then
    for r in select x.place
               from unnest(i_operation, i_quota, i_id) with ordinality x(operation, quota, id, place)
              cross join lateral (select from fanfold.reservations t
                                   where t.tenant_id = p_tenants[x.quota] and t.id = x.id limit 1) t
              where x.operation = op_reserve
    loop
      i_known[r.place] := true;
      any_known := true;
    end loop;
  end if;
  if cardinality(p_claims) > 0 then
    for r in select c.item, t.request_id,
                    t.created_at > now() - interval '24 hours' and (t.status is not null or v.lives is not null) as stands
               from unnest(p_claims) c
              cross join lateral (select t.request_id, t.status, t.created_at from fanfold.idempotency_keys t
                                   where t.tenant_id = p_tenants[i_quota[c.item]] and t.route = c.route and t.key = c.key
                                   limit 1) t
               left join lateral (select true as lives from fanfold.reservations v
                                   where v.tenant_id = p_tenants[i_quota[c.item]] and v.id = t.request_id limit 1) v on true
              where t.request_id <> i_id[c.item]
    loop
      if r.stands then
        i_claimed[r.item] := true;
        any_claimed := true;
      else
        c_ended := c_ended || r.request_id;
      end if;
    end loop;
  end if;
  if op_settle = any (i_operation) or op_lapse = any (i_operation) then
    for r in delete from fanfold.reservations t
              using unnest(i_operation, i_quota, i_id) with ordinality x(operation, quota, id, place)
              where t.tenant_id = p_tenants[x.quota] and t.id = x.id and t.period_start = p_periods[x.quota]
                and (x.operation = op_settle or (x.operation = op_lapse and t.expires_at < now()))
             returning x.place, t.units
    loop
      i_held[r.place] := r.units;
      ended := ended + 1;
    end loop;
  end if;
  for r in select x.item, sum(x.units)::bigint as units, count(*)::integer as readings,
                  case when i_operation[x.item] = op_part then array_agg(x.call_index) end as calls,
                  min(x.call_index) as lowest, max(x.call_index) as highest
             from unnest(p_readings) x group by x.item
  loop
    i_due[r.item] := r.units;
    i_readings[r.item] := r.readings;
    i_new[r.item] := r.readings;
    -- A part holds nothing yet, and is late by what of it is there: nearly always nothing, which one probe can say.
    -- Asked for nobody else: an expression with a query in it costs some 15 µs, whatever comes of it.
    -- By a range and in order: a list, of unknown length, seems so dear beside the few events that an average tenant has
    -- that the plan goes through all events of the tenant instead, by their time. Calls far apart are asked about one by one.
    if i_held[r.item] is null and not any_late then
      any_late := r.calls is null or r.highest - r.lowest > 4 * r.readings or (
        select true from fanfold.usage_events t
         where t.tenant_id = p_tenants[i_quota[r.item]] and t.request_id = i_id[r.item]
           and t.call_index between r.lowest and r.highest and t.call_index + 0 = any (r.calls)
           and t.period_start = p_periods[i_quota[r.item]] order by t.call_index limit 1) is not null;
    end if;
  end loop;
  if any_late then                      -- of a settle without its reservation only events that are not there count
    for r in select x.item, x.units, x.place, t.outcome
               from unnest(p_readings) with ordinality x(item, call_index, meter, units, quantity, rate, is_counted,
                                                         upstream_id, upstream, place)
              cross join lateral (
                    select t.outcome from fanfold.usage_events t
                     where t.tenant_id = p_tenants[i_quota[x.item]] and t.request_id = i_id[x.item]
                       and t.call_index = x.call_index and t.meter = x.meter
                       and t.period_start = p_periods[i_quota[x.item]] limit 1) t
              where i_held[x.item] is null
    loop
      i_due[r.item] := i_due[r.item] - r.units;
      i_new[r.item] := i_new[r.item] - 1;
      i_refused[r.item] := i_refused[r.item] or r.outcome = 'unbilled';
      e_there[r.place] := true;
    end loop;
    for r in select x.place
               from unnest(i_operation, i_quota, i_id, i_held) with ordinality x(operation, quota, id, held, place)
              cross join lateral (select from fanfold.outcomes t
                                   where t.tenant_id = p_tenants[x.quota] and t.request_id = x.id
                                     and t.resolution in ('billed', 'waived') limit 1) t
              where x.operation = op_settle and x.held is null
    loop
      i_closed[r.place] := true;
    end loop;
    for r in select m.item
               from unnest(p_marks) m
              cross join lateral (select t.request_id from fanfold.idempotency_keys t
                                   where t.tenant_id = p_tenants[i_quota[m.item]] and t.route = m.route
                                     and t.key = m.key limit 1) t
              where i_held[m.item] is null and t.request_id <> i_id[m.item]
    loop
      i_closed[r.item] := true;         -- the retry of a lapsed claim has it: one key is billed once
    end loop;
  end if;

  -- A part ends no reservation: it takes from it what its new readings cost. Nobody else moves its units: who does has the
  -- lock on the quota row.
  if op_part = any (i_operation) then
    for r in select x.place, least(t.units, x.due) as units
               from unnest(i_operation, i_quota, i_id, i_due) with ordinality x(operation, quota, id, due, place)
              cross join lateral (select t.units from fanfold.reservations t
                                   where t.tenant_id = p_tenants[x.quota] and t.id = x.id
                                     and t.period_start = p_periods[x.quota] limit 1) t
              where x.operation = op_part
    loop
      i_held[r.place] := r.units;
      ended := ended + 1;
    end loop;
    update fanfold.reservations t set units = t.units - x.held
      from unnest(i_operation, i_quota, i_id, i_held) x(operation, quota, id, held)
     where x.operation = op_part and x.held > 0
       and t.tenant_id = p_tenants[x.quota] and t.id = x.id and t.period_start = p_periods[x.quota];
  end if;

  -- 5. Decide. A flush is plain where every reserve is new and every other item a settle or a part that found its reservation, where
  -- no balance counts, and where all that is asked for beyond what was held fits, in whatever order it came. Then nothing
  -- can be refused and no base moves: sums will do, and what is left after each item.
  is_plain := b_tenants is null and not (any_known or any_claimed)
              and reserves + ended = n_items and op_lapse <> all (i_operation);
  if is_plain then
    q_reserved_then := q_reserved;
    q_used_then := q_used;
    for r in select x.quota, sum(greatest(x.holds + x.due - coalesce(x.held, 0), 0)) as most,
                    sum(x.holds - coalesce(x.held, 0)) as reserved, sum(x.due) as used
               from unnest(i_quota, i_holds, i_held, i_due) x(quota, holds, held, due) group by x.quota
    loop
      is_plain := is_plain and (q_overage[r.quota] or q_reserved[r.quota] + q_used[r.quota] + r.most <= q_limit[r.quota]);
      q_reserved_then[r.quota] := q_reserved[r.quota] + r.reserved;
      q_used_then[r.quota] := q_used[r.quota] + r.used;
    end loop;
  end if;
  if is_plain and n_budgets > 0 then
    k_reserved_then := k_reserved;
    k_used_then := k_used;
    for r in select x.budget, sum(greatest(x.holds + x.due - coalesce(x.held, 0), 0)) as most,
                    sum(x.holds - coalesce(x.held, 0)) as reserved, sum(x.due) as used
               from unnest(i_budget, i_holds, i_held, i_due) x(budget, holds, held, due)
              where x.budget is not null group by x.budget
    loop
      is_plain := is_plain and coalesce(k_reserved[r.budget] + k_used[r.budget] + r.most <= k_limit[r.budget], true);
      k_reserved_then[r.budget] := k_reserved[r.budget] + r.reserved;
      k_used_then[r.budget] := k_used[r.budget] + r.used;
    end loop;
  end if;
  if is_plain then
    for i in 1 .. n_quotas loop
      q_free[i] := case when not q_overage[i] then q_limit[i] - q_reserved[i] - q_used[i] end;
    end loop;
    for i in 1 .. n_items loop
      q := i_quota[i];
      q_free[q] := q_free[q] - i_holds[i] - i_due[i] + coalesce(i_held[i], 0);
      remaining[i] := q_free[q];
    end loop;
    i_billed := i_due;
    q_reserved := q_reserved_then;
    q_used := q_used_then;
    if n_budgets > 0 then
      k_reserved := k_reserved_then;
      k_used := k_used_then;
    end if;
  else
    -- One by one, in order of arrival: a big request that does not fit refuses no smaller one after it.
    for i in 1 .. n_items loop
      q := i_quota[i];
      k := i_budget[i];
      b := q_balance[q];
      held := coalesce(i_held[i], 0);
      holds := i_holds[i];
      bills := case when i_operation[i] in (op_settle, op_charge, op_part) then i_due[i] else 0 end;
      beyond := holds + bills - held;     -- what was held is billed even where the limit has sunk below it
      free_of_quota := q_base[q] - q_reserved[q] - q_used[q] + q_drawn[q];
      if b is not null then
        free_of_quota := free_of_quota + greatest(b_granted[b] - b_drawn[b], 0);
      end if;
      free_of_budget := k_base[k] - k_reserved[k] - k_used[k];          -- null: no key, or one without a budget
      moves := true;
      if i_operation[i] = op_reserve and i_known[i] then
        status[i] := s_duplicate;
        moves := false;
      elsif i_operation[i] = op_reserve and i_claimed[i] then
        status[i] := s_claimed;
        moves := false;
      elsif i_operation[i] = op_lapse then
        status[i] := case when i_held[i] is null then s_gone else s_ok end;
      elsif i_operation[i] in (op_settle, op_charge) and i_held[i] is null and (i_new[i] = 0 or i_closed[i]) then
        -- nothing left to move, nothing left to write
        status[i] := case when i_readings[i] = 0 or (i_closed[i] and i_new[i] > 0) then s_gone
                          when i_refused[i] then s_unbilled else s_duplicate end;
        moves := false;
      elsif i_operation[i] = op_part and i_readings[i] > 0 and i_new[i] = 0 then
        status[i] := case when i_refused[i] then s_unbilled else s_duplicate end;
        moves := false;
      elsif beyond > 0 and ((not q_overage[q] and beyond > free_of_quota) or beyond > free_of_budget) then
        if i_operation[i] in (op_settle, op_part) then
          status[i] := s_unbilled;
          bills := 0;
        else
          status[i] := case when not q_overage[q] and beyond > free_of_quota then s_insufficient else s_budget end;
          moves := false;
        end if;
      elsif i_held[i] is null and (i_operation[i] = op_settle or (i_operation[i] = op_part and i_readings[i] > 0)) then
        status[i] := s_late;
      end if;
      if moves then
        i_billed[i] := bills;
        q_reserved[q] := q_reserved[q] + holds - held;
        q_used[q] := q_used[q] + bills;
        if not q_overage[q] then
          taken := q_reserved[q] + q_used[q];
          q_base[q] := greatest(q_limit[q], least(q_base[q], taken));
          drawn := greatest(taken - q_base[q], 0);
          if b is not null then
            b_drawn[b] := b_drawn[b] + drawn - q_drawn[q];
          end if;
          q_drawn[q] := drawn;
        end if;
        if k is not null then
          k_reserved[k] := k_reserved[k] + holds - held;
          k_used[k] := k_used[k] + bills;
          k_base[k] := greatest(k_limit[k], case when k_limit[k] is not null
                                                 then least(k_base[k], k_reserved[k] + k_used[k]) end);
        end if;
      end if;
      if status[i] = s_budget then
        remaining[i] := greatest(free_of_budget, 0);
      elsif not q_overage[q] then
        free_of_quota := q_base[q] - q_reserved[q] - q_used[q] + q_drawn[q];
        if b is not null then
          free_of_quota := free_of_quota + greatest(b_granted[b] - b_drawn[b], 0);
        end if;
        remaining[i] := greatest(free_of_quota, 0);
      end if;
      any_outcome := any_outcome or i_operation[i] = op_lapse or status[i] = s_unbilled
                     or (i_operation[i] = op_settle and i_held[i] is null);
    end loop;
  end if;

  -- 6. How much is used, in steps. A raised limit takes a warning back, so that it is given again in its time.
  for i in 1 .. n_quotas loop
    taken := q_limit[i];                -- all that there is to use
    b := q_balance[i];
    if b is not null and not q_overage[i] then
      taken := taken + q_drawn[i] + greatest(b_granted[b] - b_drawn[b], 0);
    elsif q_drawn[i] > 0 then
      raise exception 'ledger: units drawn from no balance' using errcode = 'FF005';
    end if;
    q_level[i] := case when taken = 0 or q_used[i] = 0 then 0 when q_used[i] >= taken then 100
                       when q_used[i] >= taken - taken / 5 then 80 else 0 end;
    any_warning := any_warning or q_level[i] > q_warned[i];
  end loop;
  for i in 1 .. n_budgets loop
    k_level[i] := case when k_limit[i] is null or k_used[i] = 0 then 0 when k_used[i] >= k_limit[i] then 100
                       when k_used[i] >= k_limit[i] - k_limit[i] / 5 then 80 else 0 end;
    any_warning := any_warning or k_level[i] > k_warned[i];
  end loop;
  if 0 < any (q_level || k_level) then  -- else they are 0 already
    for i in 1 .. n_items loop
      quota_warning[i] := q_level[i_quota[i]];
      budget_warning[i] := coalesce(k_level[i_budget[i]], 0);
    end loop;
  end if;

  -- 7. Write, each table once. An id twice, which the primary keys refuse: the whole flush is undone, and sent in halves.
  -- No ON CONFLICT here: it looks each row up once more, and writes a record of its own for each.
  if reserves > 0 then
    insert into fanfold.reservations (tenant_id, id, period_start, api_key_id, units, expires_at)
    select p_tenants[x.quota], x.id, p_periods[x.quota], p_budget_keys[x.budget], x.units,
           now() + make_interval(secs => x.lease_s)
      from unnest(p_items, status) x(operation, quota, budget, id, units, lease_s, outcome)
     where x.operation = op_reserve and x.outcome = s_ok;
  end if;
  if cardinality(p_readings) > 0 then
    insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, due_units, outcome,
                                      upstream_id, upstream, quantity, rate, is_counted, api_key_id)
    select p_tenants[i_quota[x.item]], i_id[x.item], x.call_index, x.meter, p_periods[i_quota[x.item]],
           case when status[x.item] = s_unbilled then 0 else x.units end,
           case when status[x.item] = s_unbilled then x.units else 0 end,
           case when status[x.item] = s_unbilled then 'unbilled' else 'billed' end,
           x.upstream_id, x.upstream, x.quantity, x.rate, x.is_counted, p_budget_keys[i_budget[x.item]]
      from unnest(p_readings) with ordinality x(item, call_index, meter, units, quantity, rate, is_counted,
                                                upstream_id, upstream, place)
     where status[x.item] in (s_ok, s_late, s_unbilled) and e_there[x.place] is not true;
  end if;
  -- The old sums in the ceilings, not the new ones, keep the tables' CHECKs a guard over the decisions above.
  update fanfold.quota_periods t
     set reserved = x.reserved, used = x.used, prepaid = x.drawn, granted = x.granted, warned = x.level,
         ceiling = case when not x.overage
                        then greatest(x.granted, least(t.reserved + t.used - t.prepaid, x.reserved + x.used)) end
    from unnest(p_tenants, p_periods, q_reserved, q_used, q_drawn, q_limit, q_overage, q_level)
         x(tenant_id, period_start, reserved, used, drawn, granted, overage, level)
   where t.tenant_id = x.tenant_id and t.period_start = x.period_start;
  if b_tenants is not null then
    update fanfold.prepaid_balances t
       set drawn = x.drawn, ceiling = greatest(x.granted, least(t.drawn, x.drawn))
      from unnest(b_tenants, b_drawn, b_granted) x(tenant_id, drawn, granted)
     where t.tenant_id = x.tenant_id;
  end if;
  if n_budgets > 0 then
    update fanfold.key_periods t
       set reserved = x.reserved, used = x.used, granted = x.granted, warned = x.level,
           ceiling = case when x.granted is not null
                          then greatest(x.granted, least(t.reserved + t.used, x.reserved + x.used)) end
      from unnest(p_budget_quotas, p_budget_keys, k_reserved, k_used, k_limit, k_level)
           x(quota, api_key_id, reserved, used, granted, level)
     where t.tenant_id = p_tenants[x.quota] and t.api_key_id = x.api_key_id and t.period_start = p_periods[x.quota];
  end if;
  if any_warning then
    insert into fanfold.outbox (tenant_id, id, topic, payload)
    select x.tenant_id, gen_random_uuid(), 'quota.warning',
           jsonb_build_object('tenant_id', x.tenant_id, 'period_start', x.period_start, 'holder', 'tenant',
                              'api_key_id', null, 'level', x.level, 'used', x.used, 'limit', x.granted)
      from unnest(p_tenants, p_periods, q_used, q_limit, q_level, q_warned)
           x(tenant_id, period_start, used, granted, level, warned)
     where x.level > x.warned
    union all
    select p_tenants[x.quota], gen_random_uuid(), 'quota.warning',
           jsonb_build_object('tenant_id', p_tenants[x.quota], 'period_start', p_periods[x.quota], 'holder', 'api_key',
                              'api_key_id', x.api_key_id, 'level', x.level, 'used', x.used, 'limit', x.granted)
      from unnest(p_budget_quotas, p_budget_keys, k_used, k_limit, k_level, k_warned)
           x(quota, api_key_id, used, granted, level, warned)
     where x.level > x.warned;
  end if;

  -- 8. Outcomes that a person may have to look at, and those that have found their end.
  if any_outcome then
    insert into fanfold.outcomes (tenant_id, request_id, kind, period_start, api_key_id, units)
    select p_tenants[x.quota], x.id, case when x.operation = op_lapse then 'unknown' else 'unbilled' end,
           p_periods[x.quota], p_budget_keys[x.budget], case when x.operation = op_lapse then x.held else x.due end
      from unnest(i_operation, i_quota, i_budget, i_id, i_held, i_due, i_new, status)
           x(operation, quota, budget, id, held, due, readings, outcome)
     -- What a job's lost worker had under way is listed when the job is claimed again: it knows how much that was.
     where (x.operation = op_lapse and x.outcome = s_ok
            and not exists (select from fanfold.jobs j where j.tenant_id = p_tenants[x.quota] and j.id = x.id))
        or (x.operation = op_settle and x.outcome = s_unbilled and x.readings > 0)
        on conflict (tenant_id, request_id) do update
           set kind = excluded.kind, units = excluded.units
         where outcomes.resolved_at is null;
    -- Of a job's parts each has an outcome of its own.
    insert into fanfold.outcomes (tenant_id, request_id, kind, period_start, api_key_id, units, job_id, calls)
    select p_tenants[x.quota], gen_random_uuid(), 'unbilled', p_periods[x.quota], p_budget_keys[x.budget], x.due, x.id, x.readings
      from unnest(i_operation, i_quota, i_budget, i_id, i_due, i_new, status) x(operation, quota, budget, id, due, readings, outcome)
     where x.operation = op_part and x.outcome = s_unbilled and x.readings > 0;
    update fanfold.outcomes t
       set resolved_at = now(), resolution = 'settled', resolved_units = x.billed
      from unnest(i_operation, i_quota, i_id, i_billed, i_readings, status) x(operation, quota, id, billed, readings, outcome)
     where t.tenant_id = p_tenants[x.quota] and t.request_id = x.id and t.resolved_at is null
       and x.operation = op_settle and (x.outcome = s_late or (x.outcome = s_gone and x.readings = 0));
  end if;

  -- 9. Idempotency keys: claimed with the reservation, answered with the settle.
  if cardinality(p_claims) > 0 then
    insert into fanfold.idempotency_keys as t (tenant_id, route, key, body_hash, request_id)
    select p_tenants[i_quota[c.item]], c.route, c.key, c.body_hash, i_id[c.item]
      from unnest(p_claims) c
     where status[c.item] = s_ok
        on conflict (tenant_id, route, key) do update
           set body_hash = excluded.body_hash, request_id = excluded.request_id, status = null, headers = null,
               units = null, remaining = null, created_at = now(), answered_at = null
         -- A claim committed after this statement began has its reservation nowhere in its snapshot, and is not ended.
         -- One of its own is of a job that ran again under the same key, a day ago or more.
         where (t.request_id = any (c_ended)
                or (t.request_id = excluded.request_id and t.created_at <= now() - interval '24 hours'))
           and (t.status is null or t.created_at <= now() - interval '24 hours');
    get diagnostics written = row_count;
    select count(*) into expected from unnest(p_claims) c where status[c.item] = s_ok;
    if written <> expected then         -- sent once more, the flush finds it
      raise exception 'ledger: an idempotency key was claimed meanwhile' using errcode = 'FF006';
    end if;
  end if;
  if cardinality(p_marks) > 0 then
    update fanfold.idempotency_keys t
       set status = m.status, answered_at = now(), units = i_billed[m.item], remaining = remaining[m.item]
      from unnest(p_marks) m
     where t.tenant_id = p_tenants[i_quota[m.item]] and t.route = m.route and t.key = m.key
       and t.request_id = i_id[m.item] and t.status is null
       and (status[m.item] in (s_ok, s_late, s_unbilled) or i_readings[m.item] = 0);
  end if;
end
$function$
