-- Lets a job that has ended, or is paused, run again: what is missing, and what failed.
create function fanfold.job_again(p_tenant uuid, p_job uuid, p_period date) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  freed bigint;
  last_index integer;
begin
  -- The fold's answers too, where they were made of others than there will be. They are paid, so the fold to come has
  -- indices of its own: an event of the same index would be taken for the one that is there.
  with gone as (
    delete from fanfold.job_results r
     using fanfold.jobs j
     where j.tenant_id = p_tenant and j.id = p_job and r.tenant_id = p_tenant and r.job_id = p_job
       and (not r.success or (r.call_index >= j.total and j.successful < j.total))
    returning octet_length(r.body) as bytes, r.call_index)
  select coalesce(sum(g.bytes), 0) + coalesce((select octet_length(j.output) from fanfold.jobs j
                                                where j.tenant_id = p_tenant and j.id = p_job), 0),
         max(g.call_index)
    into freed, last_index from gone g;
  update fanfold.job_parts p
     set missing = p.calls - (select count(*) from fanfold.job_results r
                               where r.tenant_id = p_tenant and r.job_id = p_job and r.call_index >= p.first_index
                                 and r.call_index < p.first_index + p.calls)
   where p.tenant_id = p_tenant and p.job_id = p_job;
  update fanfold.jobs t
     set status = 'queued', ended_at = null, expires_at = null, error = null, fold_error = null, output = null, failed = 0,
         attempts = 0, due_at = now(), cancel_requested_at = null, period_start = p_period, fence = t.fence + 1,
         round = t.round + 1, seq = t.seq + 1,
         fold_first = case when t.successful < t.total then greatest(t.fold_first, last_index + 1) else t.fold_first end,
         stored_bytes = t.stored_bytes - freed
   where t.tenant_id = p_tenant and t.id = p_job;
  insert into fanfold.job_changes (tenant_id, job_id, seq, status)
  select p_tenant, p_job, t.seq, 'queued' from fanfold.jobs t where t.tenant_id = p_tenant and t.id = p_job;
  update fanfold.tenant_storage s set bytes = greatest(s.bytes - freed, 0) where s.tenant_id = p_tenant;
end
$f$
