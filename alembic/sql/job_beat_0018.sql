-- A worker's sign of life: `ours`, `cancel` where the job is to end, `wait` where it is to go on later, since its tenant is
-- suspended, `lost` where another has it. The calls it is about to make and their most units come to those under way, or
-- stand alone (`anew`), since none is.
create function fanfold.job_beat(p_tenant uuid, p_job uuid, p_fence integer, p_lease_s double precision,
                                 p_open_calls integer, p_open_units bigint, p_anew boolean)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  word text;
begin
  update fanfold.jobs t
     set lease_until = now() + make_interval(secs => p_lease_s),
         open_calls = case when p_anew then 0 else t.open_calls end + p_open_calls,
         open_units = case when p_anew then 0 else t.open_units end + p_open_units
   where t.tenant_id = p_tenant and t.id = p_job and t.fence = p_fence and t.ended_at is null and t.status = 'running'
  returning case when t.cancel_requested_at is not null then 'cancel'
                 else (select case n.status when 'suspended' then 'wait' when 'deleted' then 'cancel' else 'ours' end
                         from fanfold.tenants n where n.id = p_tenant) end into word;
  if word is null then
    return 'lost';
  end if;
  update fanfold.reservations r set expires_at = now() + make_interval(secs => p_lease_s + 60)
   where r.tenant_id = p_tenant and r.id = p_job;
  return word;
end
$f$
