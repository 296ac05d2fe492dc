-- A worker leaves a job in order: `next` for another turn, `failed` (an attempt that failed: again after 1 s doubling, or
-- dead), `paused` (its units could not be held). False where the job is another's by now.
create function fanfold.job_leave(p_tenant uuid, p_job uuid, p_fence integer, p_how text, p_error jsonb, p_attempts integer)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  j fanfold.jobs;
begin
  select * into j from fanfold.jobs t
   where t.tenant_id = p_tenant and t.id = p_job and t.fence = p_fence and t.ended_at is null and t.status = 'running'
     for no key update;
  if not found then
    return false;
  end if;
  perform fanfold.job_unknown(j);
  if p_how = 'failed' and j.attempts + 1 >= p_attempts then
    perform fanfold.job_dead(j, p_error);
    return true;
  end if;
  update fanfold.jobs t
     set worker_id = null, lease_until = null, open_calls = 0, open_units = 0,
         attempts = t.attempts + (p_how = 'failed')::integer,
         due_at = now() + case when p_how = 'failed' then make_interval(secs => 2 ^ t.attempts) else interval '0' end,
         error = case when p_how = 'next' then t.error else p_error end,
         status = case when p_how = 'paused' then 'paused' else t.status end,
         seq = t.seq + (p_how = 'paused')::integer
   where t.tenant_id = p_tenant and t.id = p_job;
  if p_how = 'paused' then
    insert into fanfold.job_changes (tenant_id, job_id, seq, status) values (p_tenant, p_job, j.seq + 1, 'paused');
  end if;
  -- Nobody beats for it now, and nobody has to: it waits for its turn as long as that takes.
  update fanfold.reservations r set expires_at = now() + interval '10 years' where r.tenant_id = p_tenant and r.id = p_job;
  return true;
end
$f$
