-- One flush of the jobs' lane: what jobs do with units, and the rows that go with it, in one commit.
--
-- The ledger's arguments are those of ledger_commit; the rest refers to its items by number, whose id is the job's:
--   p_new      a reserve (1) that makes a job        p_parts    its input, in the order of its chunks
--   p_turns    what a job that is there does, by whoever has its fence: 1 record (item: part 5), 2 end (settle 2),
--              3 renew (reserve 1: its reservation was swept), 4 retry (reserve 1: what is missing or failed runs again)
--   p_results  the answers of a record
-- Status: as of ledger_commit; 5 also where the fence is an older one, or the job is gone: then nothing is written;
-- 8 for a new job that does not fit into what its tenant may store.
--
-- Locks, in this order: jobs, what tenants store, then the ledger's. Nobody asks for them in another.
create function fanfold.jobs_commit(
  p_tenants uuid[], p_periods date[],
  p_budget_quotas integer[], p_budget_keys uuid[],
  p_items fanfold.ledger_operation[],
  p_readings fanfold.ledger_reading[],
  p_claims fanfold.ledger_claim[],
  p_marks fanfold.ledger_mark[],
  p_new fanfold.job_new[], p_parts fanfold.job_part[], p_turns fanfold.job_turn[], p_results fanfold.job_result[],
  out status smallint[], out remaining bigint[], out quota_warning smallint[], out budget_warning smallint[])
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $function$
#variable_conflict use_variable
declare
  t_record constant smallint := 1;
  t_end constant smallint := 2;
  t_renew constant smallint := 3;
  t_retry constant smallint := 4;
  s_gone constant smallint := 5;
  s_full constant smallint := 8;
  n_items constant integer := cardinality(p_items);
  refused smallint[] := array_fill(0::smallint, array[n_items]);
  done boolean[];
  i_quota integer[];
  i_id uuid[];
  r record;
begin
  select array_agg(x.quota), array_agg(x.id) into i_quota, i_id from unnest(p_items) x;

  -- 1. Whose jobs these are by now.
  if cardinality(p_turns) > 0 then
    for r in select w.item, l.id
               from (select x.item, x.fence, x.kind, p_tenants[i_quota[x.item]] as tenant_id, i_id[x.item] as id
                       from unnest(p_turns) x order by 4, 5) w
               left join lateral (select t.id from fanfold.jobs t
                                   where t.tenant_id = w.tenant_id and t.id = w.id and t.fence = w.fence
                                     and case when w.kind = t_retry then t.ended_at is not null or t.status = 'paused'
                                              else t.ended_at is null end
                                     for no key update) l on true
    loop
      if r.id is null then
        refused[r.item] := s_gone;
      end if;
    end loop;
  end if;
  -- 2. What each tenant stores, and whether more fits. The row is there from its first job on.
  if cardinality(p_new) > 0 then
    insert into fanfold.tenant_storage (tenant_id)
    select distinct p_tenants[i_quota[n.item]] from unnest(p_new) n order by 1 on conflict do nothing;
  end if;
  perform from (select distinct p_tenants[i_quota[x.item]] as tenant_id
                  from (select n.item from unnest(p_new) n union all select w.item from unnest(p_turns) w) x order by 1) w
         cross join lateral (select from fanfold.tenant_storage t where t.tenant_id = w.tenant_id for no key update) t;
  if cardinality(p_new) > 0 then
    for r in select n.item
               from (select n.item, n.max_stored_bytes as most, p_tenants[i_quota[n.item]] as tenant_id,
                            sum(n.bytes) over (partition by p_tenants[i_quota[n.item]] order by n.item) as bytes
                       from unnest(p_new) n) n
              cross join lateral (select t.bytes from fanfold.tenant_storage t where t.tenant_id = n.tenant_id limit 1) t
              where t.bytes + n.bytes > n.most
    loop
      refused[r.item] := s_full;
    end loop;
  end if;

  -- 3. The units. What is refused does nothing there.
  if 0 < any (refused) then
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
  select array_agg(refused[x.place] = 0 and (x.status in (0, 3, 4) or (x.status in (2, 5) and k.kind in (t_record, t_end))
                                             or (x.status = 2 and k.kind = t_renew))
                   order by x.place),
         array_agg(case when refused[x.place] > 0 then refused[x.place] when k.kind = t_end and x.status = s_gone then 0
                        else x.status end order by x.place)
    into done, status
    from unnest(status) with ordinality x(status, place)
    left join lateral (select y.kind from unnest(p_turns) y where y.item = x.place limit 1) k on true;

  -- 4. New jobs.
  if cardinality(p_new) > 0 then
    insert into fanfold.jobs (tenant_id, id, status, source, metadata, request, api_key_id, total, fold_first, characters,
                              units_max, period_start, weight, retention_days, stored_bytes, created_at)
    select p_tenants[i_quota[n.item]], i_id[n.item], 'queued', n.source, n.metadata::jsonb, n.request, n.api_key_id, n.total,
           n.total, n.characters, n.units_max, p_periods[i_quota[n.item]], n.weight, n.retention_days, n.bytes,
           -- The id's own time, in ms (RFC 9562, 5.7): who made it can tell it without asking.
           to_timestamp(('x' || left(replace(i_id[n.item]::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
      from unnest(p_new) n where done[n.item];
    insert into fanfold.job_parts (tenant_id, job_id, place, first_index, calls, missing, units_max, body)
    select p_tenants[i_quota[p.item]], i_id[p.item], p.place, p.first_index, p.calls, p.calls, p.units_max, p.body
      from unnest(p_parts) p where done[p.item];
    insert into fanfold.job_changes (tenant_id, job_id, seq, status)
    select p_tenants[i_quota[n.item]], i_id[n.item], 0, 'queued' from unnest(p_new) n where done[n.item];
    update fanfold.tenant_storage t set bytes = t.bytes + x.bytes
      from (select p_tenants[i_quota[n.item]] as tenant_id, sum(n.bytes) as bytes from unnest(p_new) n
             where done[n.item] group by 1) x
     where t.tenant_id = x.tenant_id;
  end if;

  -- 5. Turns of jobs.
  for r in select w.*, p_tenants[i_quota[w.item]] as tenant_id, i_id[w.item] as id, p_periods[i_quota[w.item]] as period_start
             from unnest(p_turns) w where done[w.item] order by w.item
  loop
    case r.kind
      when t_record then
        perform fanfold.job_record(r.tenant_id, r.id, r.closed_calls, r.closed_units, status[r.item] = 4,
                                   (select array_agg(x) from unnest(p_results) x where x.item = r.item));
      when t_end then
        perform fanfold.job_end(r.tenant_id, r.id, r.status, r.error::jsonb, r.output, r.fold_error::jsonb);
      when t_renew then
        update fanfold.jobs t set period_start = r.period_start where t.tenant_id = r.tenant_id and t.id = r.id;
      else
        perform fanfold.job_again(r.tenant_id, r.id, r.period_start);
    end case;
  end loop;
  for r in select distinct p_tenants[i_quota[x.item]] as tenant_id
             from (select n.item from unnest(p_new) n union all select w.item from unnest(p_turns) w where w.kind = t_retry) x
            where done[x.item] order by 1
  loop
    perform fanfold.job_turn_queue(r.tenant_id, now());
  end loop;
end
$function$
