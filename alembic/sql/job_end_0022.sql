-- Ends a job, and tells whoever wants to know.
create function fanfold.job_end(p_tenant uuid, p_job uuid, p_status text, p_error jsonb, p_output bytea, p_fold_error jsonb)
returns void
language sql security definer set search_path = pg_catalog, pg_temp as $f$
  with ended as (
    update fanfold.jobs t
       set status = p_status, ended_at = now(), expires_at = now() + make_interval(days => t.retention_days),
           worker_id = null, lease_until = null, open_calls = 0, open_units = 0, error = p_error, output = p_output,
           fold_error = p_fold_error, fence = t.fence + 1, seq = t.seq + 1,
           stored_bytes = t.stored_bytes + coalesce(octet_length(p_output), 0)
     where t.tenant_id = p_tenant and t.id = p_job
    returning t.seq, t.units, t.total, t.successful, t.failed),
  changed as (
    insert into fanfold.job_changes (tenant_id, job_id, seq, status) select p_tenant, p_job, e.seq, p_status from ended e),
  stored as (
    update fanfold.tenant_storage s set bytes = s.bytes + octet_length(p_output)
     where s.tenant_id = p_tenant and p_output is not null)
  insert into fanfold.outbox (tenant_id, id, topic, payload)
  select p_tenant, gen_random_uuid(), 'job.finished',
         jsonb_build_object('tenant_id', p_tenant, 'job_id', p_job, 'status', p_status, 'units', e.units, 'counts',
           jsonb_build_object('total', e.total, 'successful', e.successful, 'failed', e.failed))
    from ended e
$f$
