-- Writes what came of a job's calls; what is written already stands.
create function fanfold.job_record(p_tenant uuid, p_job uuid, p_closed_calls integer, p_closed_units bigint, p_unbilled boolean,
                                   p_results fanfold.job_result[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $f$
declare
  last_seq bigint;
  total_calls integer;
  is_new boolean := false;               -- what was there already is left out of them
  new record;
begin
  select t.seq, t.total into last_seq, total_calls from fanfold.jobs t where t.tenant_id = p_tenant and t.id = p_job;
  loop
    select count(*)::integer as many, coalesce(sum(x.units) filter (where not p_unbilled), 0)::bigint as units,
           coalesce(sum(octet_length(x.body)), 0)::bigint as bytes,
           (count(*) filter (where x.success and x.call_index < total_calls))::integer as successful,
           (count(*) filter (where not x.success and x.call_index < total_calls))::integer as failed,
           min(x.call_index) as lowest, max(x.call_index) as highest, array_agg(x.call_index) as calls
      into new from unnest(p_results) x;
    -- By a range and in order: with a list the plan goes through all results of the job instead, by their numbers. Calls
    -- far apart are asked about one by one.
    exit when is_new or (new.highest - new.lowest <= 4 * new.many and (
      select true from fanfold.job_results o
       where o.tenant_id = p_tenant and o.job_id = p_job and o.call_index between new.lowest and new.highest
         and o.call_index + 0 = any (new.calls) order by o.call_index limit 1) is null);
    p_results := array(select x from unnest(p_results) x
                         left join lateral (select true as there from fanfold.job_results o
                                             where o.tenant_id = p_tenant and o.job_id = p_job
                                               and o.call_index between x.call_index and x.call_index
                                             order by o.call_index limit 1) o on true
                        where o.there is null order by x.place);
    is_new := true;
  end loop;
  update fanfold.jobs t
     set seq = t.seq + new.many, successful = t.successful + new.successful, failed = t.failed + new.failed,
         units = t.units + new.units, stored_bytes = t.stored_bytes + new.bytes,
         attempts = case when new.many > 0 then 0 else t.attempts end,
         -- What is sent once more has been closed already.
         open_calls = case when new.many > 0 then greatest(t.open_calls - p_closed_calls, 0) else t.open_calls end,
         open_units = case when new.many > 0 then greatest(t.open_units - p_closed_units, 0) else t.open_units end
   where t.tenant_id = p_tenant and t.id = p_job;
  if new.many = 0 then
    return;
  end if;
  insert into fanfold.job_results (tenant_id, job_id, call_index, seq, success, units, body)
  select p_tenant, p_job, x.call_index, last_seq + x.number, x.success, case when p_unbilled then 0 else x.units end, x.body
    from unnest(p_results) with ordinality x(item, place, call_index, success, units, body, number);
  -- The parts they are of lie side by side, so those are found once, not for each result. The fold's calls are of none.
  update fanfold.job_parts p set missing = p.missing - w.many
    from (select p.place, count(*)::integer as many
            from (select p.place, p.first_index, p.calls from fanfold.job_parts p
                   where p.tenant_id = p_tenant and p.job_id = p_job and p.first_index <= new.highest
                     and p.first_index >= (select max(o.first_index) from fanfold.job_parts o
                                            where o.tenant_id = p_tenant and o.job_id = p_job and o.first_index <= new.lowest)
                 ) p
            join unnest(p_results) x on x.call_index >= p.first_index and x.call_index < p.first_index + p.calls
           group by p.place) w
   where p.tenant_id = p_tenant and p.job_id = p_job and p.place = w.place;
  update fanfold.tenant_storage s set bytes = s.bytes + new.bytes where s.tenant_id = p_tenant;
end
$f$
