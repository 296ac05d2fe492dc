-- Takes a tenant's turn, in one commit: from here on the next one may wait behind it, the tenant's next job is claimed
-- where one is due (job_claim; how it stands is told as by job_standing), and the next turn is queued. Without p_queue_id
-- the turn goes on with another job, unless another tenant waits.
-- A turn that comes once more has no key: it is not locked, while that of the next one is. Its payload says whose it is.
-- Locks: the queue's key first and a job behind it, where jobs_commit has jobs first and the key last. Only since job_claim
-- waits for no job (skip locked) can the two not deadlock.
create function fanfold.job_turn_take(p_queue_id bigint, p_tenant uuid, p_worker uuid, p_lease_s double precision,
                                      p_most integer, p_attempts integer)
returns table (tenant_id uuid, id uuid, fence integer, period_start date, api_key_id uuid, total integer, fold_first integer,
               weight integer, request bytea, units bigint, needed bigint, billed bigint, period text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
begin
  update fanfold.pgqueuer q set dedupe_key = null where q.id = p_queue_id and q.dedupe_key is not null;
  if p_queue_id is not null or not exists (
       select from fanfold.pgqueuer q
        where q.entrypoint = 'fanfold.turn' and q.status = 'queued' and q.execute_after <= now()
          and q.payload is distinct from convert_to(p_tenant::text, 'UTF8')) then
    return query
      select j.tenant_id, j.id, j.fence, j.period_start, j.api_key_id, j.total, j.fold_first, j.weight, j.request,
             s.units, s.needed, s.billed, s.period
        from fanfold.job_claim(p_tenant, p_worker, p_lease_s, p_most, p_attempts) j
       cross join lateral fanfold.job_standing(j.tenant_id, j.id, j.period_start) s;
  end if;
  perform fanfold.job_turn_next(p_tenant, p_most);
end
$f$
