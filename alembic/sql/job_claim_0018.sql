-- Takes the tenant's next job that is due and that nobody works on, with a new fence; null where there is none. A lease that
-- lapsed is an attempt that failed, and what its worker had under way is an unknown outcome. After 5 in a row without any
-- result the job is dead. Jobs of a suspended tenant wait; those of a deleted one are cancelled.
create function fanfold.job_claim(p_tenant uuid, p_worker uuid, p_lease_s double precision, p_most integer,
                                  p_attempts integer)
returns setof fanfold.jobs
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  j fanfold.jobs;
  standing text := (select t.status from fanfold.tenants t where t.id = p_tenant);
begin
  if standing = 'suspended' then
    return;
  end if;
  if (select count(*) from (select from fanfold.jobs t where t.tenant_id = p_tenant and t.status in ('queued', 'running')
                               and t.lease_until > now() limit p_most) x) >= p_most then
    return;
  end if;
  loop
    select * into j from fanfold.jobs t
     where t.tenant_id = p_tenant and t.status in ('queued', 'running') and t.due_at <= now()
       and (t.lease_until is null or t.lease_until <= now())
     order by t.due_at, t.id limit 1 for no key update skip locked;
    if not found then
      return;
    end if;
    if j.worker_id is not null then
      j.attempts := j.attempts + 1;
      perform fanfold.job_unknown(j);
      j.open_calls := 0;
      j.open_units := 0;
    end if;
    if standing = 'deleted' then
      update fanfold.reservations r set expires_at = now() where r.tenant_id = j.tenant_id and r.id = j.id;
      perform fanfold.job_end(j.tenant_id, j.id, 'cancelled', null, null, null);
      continue;
    end if;
    if j.attempts >= p_attempts then
      perform fanfold.job_dead(j, coalesce(j.error, jsonb_build_object('code', 'worker-lost', 'detail',
        'The worker was lost again and again. An operator can see why in its log.')));
      continue;
    end if;
    update fanfold.jobs t
       set status = 'running', fence = t.fence + 1, worker_id = p_worker, attempts = j.attempts, open_calls = 0,
           open_units = 0, lease_until = now() + make_interval(secs => p_lease_s),
           started_at = coalesce(t.started_at, now()),
           seq = t.seq + (t.status <> 'running')::integer
     where t.tenant_id = j.tenant_id and t.id = j.id;
    if j.status <> 'running' then
      insert into fanfold.job_changes (tenant_id, job_id, seq, status) values (j.tenant_id, j.id, j.seq + 1, 'running');
    end if;
    update fanfold.reservations r set expires_at = now() + make_interval(secs => p_lease_s + 60)
     where r.tenant_id = j.tenant_id and r.id = j.id;
    return query select * from fanfold.jobs t where t.tenant_id = j.tenant_id and t.id = j.id;
    return;
  end loop;
end
$f$
