-- Writes what came of a job's calls; what is written already stands. Their texts are in p_bytes.
create function fanfold.job_record(p_tenant uuid, p_job uuid, p_closed_calls integer, p_closed_units bigint, p_unbilled boolean,
                                   p_results fanfold.job_answer[], p_bytes bytea) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $f$
declare
  is_new boolean;                        -- what was there already is left out of them
  new record;
begin
  loop
    select t.seq, n.*,
           -- By a range and in order: with a list the plan goes through all results of the job instead, by their numbers.
           -- Calls far apart are asked about one by one.
           n.highest - n.lowest > 4 * n.many or (
             select true from fanfold.job_results o
              where o.tenant_id = p_tenant and o.job_id = p_job and o.call_index between n.lowest and n.highest
                and o.call_index + 0 = any (n.calls) order by o.call_index limit 1) as is_doubtful
      into new
      from fanfold.jobs t
     cross join lateral (
           select count(*)::integer as many, coalesce(sum(x.units) filter (where not p_unbilled), 0)::bigint as units,
                  coalesce(sum(x.body_bytes), 0)::bigint as bytes,
                  (count(*) filter (where x.success and x.call_index < t.total))::integer as successful,
                  (count(*) filter (where not x.success and x.call_index < t.total))::integer as failed,
                  min(x.call_index) as lowest, max(x.call_index) as highest, array_agg(x.call_index) as calls
             from unnest(p_results) x) n
     where t.tenant_id = p_tenant and t.id = p_job;
    exit when is_new or new.is_doubtful is not true;
    p_results := array(select x from unnest(p_results) x
                         left join lateral (select true as there from fanfold.job_results o
                                             where o.tenant_id = p_tenant and o.job_id = p_job
                                               and o.call_index between x.call_index and x.call_index
                                             order by o.call_index limit 1) o on true
                        where o.there is null order by x.place);
    is_new := true;
  end loop;
  if new.many = 0 then                   -- what is sent once more has been closed already
    return;
  end if;
  update fanfold.jobs t
     set seq = t.seq + new.many, successful = t.successful + new.successful, failed = t.failed + new.failed,
         units = t.units + new.units, stored_bytes = t.stored_bytes + new.bytes, attempts = 0,
         open_calls = greatest(t.open_calls - p_closed_calls, 0), open_units = greatest(t.open_units - p_closed_units, 0)
   where t.tenant_id = p_tenant and t.id = p_job;
  insert into fanfold.job_results (tenant_id, job_id, call_index, seq, success, units, body)
  select p_tenant, p_job, x.call_index, new.seq + x.number, x.success, case when p_unbilled then 0 else x.units end,
         substr(p_bytes, x.body_first, x.body_bytes)
    from unnest(p_results) with ordinality x(item, place, call_index, success, units, body_first, body_bytes, number);
  -- The parts they are of lie side by side: from that of the first to that of the last. The fold's calls are of none.
  -- They are found by going down the index by first_index, as nothing else fits a comparison of both members (the job has
  -- parts, so what is met first is its own) and a case: by `=` the plan sorts all parts before, where it takes them for few.
  update fanfold.job_parts p
     set missing = p.missing - (select count(*) from unnest(p_results) x
                                 where x.call_index >= p.first_index and x.call_index < p.first_index + p.calls)
   where p.tenant_id = p_tenant and p.job_id = p_job
     and p.place between (select o.place from fanfold.job_parts o
                           where (o.job_id, o.first_index) <= (p_job, new.lowest)
                             and case when o.tenant_id = p_tenant then true end
                           order by o.job_id desc, o.first_index desc limit 1)
                     and (select o.place from fanfold.job_parts o
                           where (o.job_id, o.first_index) <= (p_job, new.highest)
                             and case when o.tenant_id = p_tenant then true end
                           order by o.job_id desc, o.first_index desc limit 1)
     and exists (select from unnest(p_results) x
                  where x.call_index >= p.first_index and x.call_index < p.first_index + p.calls);
  update fanfold.tenant_storage s set bytes = s.bytes + new.bytes where s.tenant_id = p_tenant;
end
$f$
