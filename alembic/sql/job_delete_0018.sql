-- Removes a job that has ended with its texts and answers; usage stays. `missing`, `running` or `ok`.
create function fanfold.job_delete(p_tenant uuid, p_job uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  j fanfold.jobs;
  r fanfold.reservations;
begin
  select * into j from fanfold.jobs t where t.tenant_id = p_tenant and t.id = p_job for update;
  if not found then
    return 'missing';
  elsif j.ended_at is null and j.status <> 'paused' then
    return 'running';
  end if;
  delete from fanfold.job_parts t where t.tenant_id = p_tenant and t.job_id = p_job;
  delete from fanfold.job_results t where t.tenant_id = p_tenant and t.job_id = p_job;
  delete from fanfold.job_changes t where t.tenant_id = p_tenant and t.job_id = p_job;
  delete from fanfold.jobs t where t.tenant_id = p_tenant and t.id = p_job;
  update fanfold.tenant_storage s set bytes = greatest(s.bytes - j.stored_bytes, 0) where s.tenant_id = p_tenant;
  -- One that was given up a moment ago, or is paused, may hold units. Once it is gone the sweeper would take them for those
  -- of a request that nobody knows the end of; nobody calls for this one, so they are free.
  select * into r from fanfold.reservations t where t.tenant_id = p_tenant and t.id = p_job;
  if found then
    perform fanfold.ledger_commit(
      array[p_tenant], array[r.period_start], array_remove(array[case when r.api_key_id is not null then 1 end], null),
      array_remove(array[r.api_key_id], null),
      array[row(2, 1, case when r.api_key_id is not null then 1 end, p_job, 0, 0)::fanfold.ledger_operation],
      '{}', '{}', '{}');
  end if;
  return 'ok';
end
$f$
