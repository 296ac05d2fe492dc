-- Where a job stands, for the worker that has it: the units that are held for it (null where they have lapsed), the most
-- that the calls without a result may cost, what is billed; its plan's period, and its counts. It says itself whose rows
-- are read. job_turn_take calls it too: as its caller, whose rights differ, it would be planned anew each time.
create function fanfold.job_standing(p_tenant uuid, p_job uuid, p_period date)
returns table (units bigint, needed bigint, billed bigint, period text, successful integer, failed integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
#variable_conflict use_column
begin
  return query
    select (select r.units from fanfold.reservations r
             where r.tenant_id = p_tenant and r.id = p_job and r.period_start = p_period),
           (select coalesce(sum(p.units_max), 0)::bigint from fanfold.job_parts p
             where p.tenant_id = p_tenant and p.job_id = p_job and p.missing > 0),
           j.units,
           (select n.period from fanfold.plans n join fanfold.tenants t on t.plan = n.code where t.id = p_tenant),
           j.successful, j.failed
      from (select) x left join fanfold.jobs j on j.tenant_id = p_tenant and j.id = p_job;
end
$f$
