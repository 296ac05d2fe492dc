-- One flush of the jobs' lane: what jobs do with units, and the rows that go with it, in one commit.
--
-- The ledger's arguments are those of ledger_commit; the rest refers to its items by number, whose id is the job's:
--   p_new      a reserve (1) that makes a job        p_parts    its input, in the order of its chunks
--   p_turns    what a job that is there does, by whoever has its fence: 1 record (item: part 5), 2 end (settle 2),
--              3 renew (reserve 1: its reservation was swept), 4 retry (reserve 1: what is missing or failed runs again)
--   p_results  the answers of the records, in their order
--   p_bytes    texts of all of them, one behind the other: each is so many bytes from its first one (counted from 1)
-- Status: as of ledger_commit; 5 also where the fence is an older one, or the job is gone: then nothing is written;
-- 8 for a new job that does not fit into what its tenant may store.
--
-- Locks, in this order: jobs, what tenants store, then the ledger's. Nobody asks for them in another. The key of a turn in
-- the queue comes last; job_turn_take has it first, and waits for no job behind it: job_claim skips what is locked.
--
-- An expression of PL/pgSQL is made anew in each transaction, which takes longer than what it says: so there are few, a
-- constant is a literal, and what is seldom needed lies behind one test.
create function fanfold.jobs_commit(
  p_tenants uuid[], p_periods date[],
  p_budget_quotas integer[], p_budget_keys uuid[],
  p_items fanfold.ledger_operation[],
  p_readings fanfold.ledger_reading[],
  p_claims fanfold.ledger_claim[],
  p_marks fanfold.ledger_mark[],
  p_new fanfold.job_made[], p_parts fanfold.job_portion[], p_turns fanfold.job_turn[], p_results fanfold.job_answer[],
  p_bytes bytea,
  out status smallint[], out remaining bigint[], out quota_warning smallint[], out budget_warning smallint[])
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $function$
#variable_conflict use_variable
declare
  tenants uuid[]; periods date[]; ids uuid[];             -- of each item
  refused smallint[];                                     -- of each item, 0 where it is not; null where none is
  done boolean[];                                         -- of each item; null where all are
  gone integer[]; too_large integer[];                    -- items
  has_new boolean;
  has_turns boolean;
  has_first boolean;                                      -- a tenant's first job
  is_tight boolean;                                       -- not all new jobs of a tenant fit
  queues boolean;                                         -- somebody's turn is to be queued
  r record;
begin
  select array_agg(p_tenants[x.quota]), array_agg(p_periods[x.quota]), array_agg(x.id),
         cardinality(p_new) > 0, cardinality(p_turns) > 0,
         cardinality(p_new) > 0 and exists (
           select from unnest(p_tenants) w(tenant_id)
             left join lateral (select true as there from fanfold.tenant_storage t where t.tenant_id = w.tenant_id limit 1) t
                    on true
            where t.there is null),
         cardinality(p_new) > 0 or exists (select from unnest(p_turns) w where w.kind = 4)
    into tenants, periods, ids, has_new, has_turns, has_first, queues
    from unnest(p_items) x;
  -- Before any lock: a row held while waiting for another's insert could deadlock.
  if has_first then
    insert into fanfold.tenant_storage (tenant_id)
    select distinct tenants[n.item] from unnest(p_new) n order by 1 on conflict do nothing;
  end if;

  -- 1. Whose jobs these are by now.
  if has_turns then
    select array_agg(w.item) filter (where l.id is null) into gone
      from (select x.item, x.fence, x.kind, tenants[x.item] as tenant_id, ids[x.item] as id
              from unnest(p_turns) x order by 4, 5) w
      left join lateral (select t.id from fanfold.jobs t
                          where t.tenant_id = w.tenant_id and t.id = w.id and t.fence = w.fence
                            and case when w.kind = 4 then t.ended_at is not null or t.status = 'paused'
                                     else t.ended_at is null end
                            for no key update) l on true;
  end if;
  -- 2. What each tenant stores, and whether more fits.
  select bool_or(t.bytes + n.bytes > n.most) into is_tight
    from (select distinct x.tenant_id from unnest(p_tenants) x(tenant_id) order by 1) w
   cross join lateral (select t.bytes from fanfold.tenant_storage t where t.tenant_id = w.tenant_id for no key update) t
   cross join lateral (select sum(n.bytes) as bytes, min(n.max_stored_bytes) as most from unnest(p_new) n
                        where tenants[n.item] = w.tenant_id) n;
  if is_tight then
    select array_agg(n.item) into too_large
      from (select n.item, n.max_stored_bytes as most, tenants[n.item] as tenant_id,
                   sum(n.bytes) over (partition by tenants[n.item] order by n.item) as bytes
              from unnest(p_new) n) n
     cross join lateral (select t.bytes from fanfold.tenant_storage t where t.tenant_id = n.tenant_id limit 1) t
     where t.bytes + n.bytes > n.most;
  end if;

  -- 3. The units. What is refused does nothing there.
  if gone is not null or too_large is not null then
    refused := array(select case when x = any (gone) then 5 when x = any (too_large) then 8 else 0 end
                       from generate_series(1, cardinality(p_items)) x order by x);
    p_items := array(select row(case when refused[x.place] > 0 then 0 else x.operation end, x.quota, x.budget, x.id, x.units,
                                x.lease_s)::fanfold.ledger_operation
                       from unnest(p_items) with ordinality x(operation, quota, budget, id, units, lease_s, place)
                      order by x.place);
    p_readings := array(select x from unnest(p_readings) x where refused[x.item] = 0);
    p_claims := array(select x from unnest(p_claims) x where refused[x.item] = 0);
    p_marks := array(select x from unnest(p_marks) x where refused[x.item] = 0);
  end if;
  select c.status, c.remaining, c.quota_warning, c.budget_warning
    into status, remaining, quota_warning, budget_warning
    from fanfold.ledger_commit(p_tenants, p_periods, p_budget_quotas, p_budget_keys, p_items, p_readings, p_claims, p_marks) c;
  -- Not done: insufficient, there already, the key claimed, over a budget. The end of a job whose reservation is gone is one.
  if refused is not null or 0 <> any (status) then
    select array_agg(coalesce(refused[x.place], 0) = 0
                     and (x.status in (0, 3, 4) or (x.status in (2, 5) and k.kind in (1, 2)) or (x.status = 2 and k.kind = 3))
                         is true order by x.place),
           array_agg(case when refused[x.place] > 0 then refused[x.place] when k.kind = 2 and x.status = 5 then 0
                          else x.status end order by x.place)
      into done, status
      from unnest(status) with ordinality x(status, place)
      left join lateral (select y.kind from unnest(p_turns) y where y.item = x.place limit 1) k on true;
  end if;

  -- 4. New jobs.
  if has_new then
    insert into fanfold.jobs (tenant_id, id, status, source, metadata, request, api_key_id, total, fold_first, characters,
                              units_max, period_start, weight, retention_days, stored_bytes, created_at)
    select tenants[n.item], ids[n.item], 'queued', n.source,
           convert_from(substr(p_bytes, n.metadata_first, n.metadata_bytes), 'UTF8')::jsonb,
           substr(p_bytes, n.request_first, n.request_bytes), n.api_key_id, n.total, n.total, n.characters, n.units_max,
           periods[n.item], n.weight, n.retention_days, n.bytes,
           -- The id's own time, in ms (RFC 9562, 5.7): who made it can tell it without asking.
           to_timestamp(('x' || left(replace(ids[n.item]::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
      from unnest(p_new) n where done[n.item] is not false;
    insert into fanfold.job_parts (tenant_id, job_id, place, first_index, calls, missing, units_max, body)
    select tenants[p.item], ids[p.item], p.place, p.first_index, p.calls, p.calls, p.units_max,
           substr(p_bytes, p.body_first, p.body_bytes)
      from unnest(p_parts) p where done[p.item] is not false;
    insert into fanfold.job_changes (tenant_id, job_id, seq, status)
    select tenants[n.item], ids[n.item], 0, 'queued' from unnest(p_new) n where done[n.item] is not false;
    update fanfold.tenant_storage t set bytes = t.bytes + x.bytes
      from (select tenants[n.item] as tenant_id, sum(n.bytes) as bytes from unnest(p_new) n
             where done[n.item] is not false group by 1) x
     where t.tenant_id = x.tenant_id;
  end if;

  -- 5. Turns of jobs.
  if has_turns then
    for r in select w.*, tenants[w.item] as tenant_id, ids[w.item] as id, periods[w.item] as period_start,
                    status[w.item] = 4 as is_unbilled,
                    case when w.kind = 1 then array(select x from unnest(p_results) x where x.item = w.item) end as results
               from unnest(p_turns) w where done[w.item] is not false order by w.item
    loop
      if r.kind = 1 then
        perform fanfold.job_record(r.tenant_id, r.id, r.closed_calls, r.closed_units, r.is_unbilled, r.results, p_bytes);
      elsif r.kind = 2 then
        perform fanfold.job_end(r.tenant_id, r.id, r.status, r.error::jsonb, r.output, r.fold_error::jsonb);
      elsif r.kind = 3 then
        update fanfold.jobs t set period_start = r.period_start where t.tenant_id = r.tenant_id and t.id = r.id;
      else
        perform fanfold.job_again(r.tenant_id, r.id, r.period_start);
      end if;
    end loop;
  end if;
  if queues then
    perform fanfold.job_turn_queue(w.tenant_id, now())
       from (select distinct tenants[x.item] as tenant_id
               from (select n.item from unnest(p_new) n union all select w.item from unnest(p_turns) w where w.kind = 4) x
              where done[x.item] is not false order by 1) w;
  end if;
end
$function$
