-- Asks for the end of a job: `asked` where a worker has it, `ended` where it has ended, `missing`; or `free`, with a new fence
-- for whoever ends it now.
create function fanfold.job_cancel(p_tenant uuid, p_job uuid, out word text, out fence integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  j fanfold.jobs;
begin
  select * into j from fanfold.jobs t where t.tenant_id = p_tenant and t.id = p_job for no key update;
  if not found then
    word := 'missing';
  elsif j.ended_at is not null then
    word := 'ended';
  elsif j.lease_until > now() then
    update fanfold.jobs t set cancel_requested_at = coalesce(t.cancel_requested_at, now())
     where t.tenant_id = p_tenant and t.id = p_job;
    word := 'asked';
  else
    perform fanfold.job_unknown(j);
    update fanfold.jobs t
       set cancel_requested_at = now(), fence = t.fence + 1, worker_id = null, lease_until = null, open_calls = 0, open_units = 0
     where t.tenant_id = p_tenant and t.id = p_job returning t.fence into job_cancel.fence;
    word := 'free';
  end if;
end
$f$
