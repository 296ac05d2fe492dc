-- Erases one deleted tenant whose grace is over, at most p_most rows of each kind at a call; returns how many rows it
-- touched, and 0 where nothing is due.
--
-- What is billed stays under the tenant's id: usage, quotas, grants, outcomes. The audit log stays, but what was changed
-- from and to goes. The tenant's row stays as a tombstone, under a slug that no other tenant can ever have.
-- A minute more than the grace: until then a process may believe that the tenant is there. And not while a request of
-- it still holds units: the sweeper ends those.
create function fanfold.tenant_erase(p_most integer) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  erased uuid;
  many bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('fanfold.tenant_erase', 0)) then
    return 0;
  end if;
  select t.id into erased from fanfold.tenants t
   where t.status = 'deleted' and t.erased_at is null and t.erase_at <= now() - interval '1 minute'
     and not exists (select from fanfold.reservations r where r.tenant_id = t.id)
   order by t.erase_at limit 1 for update skip locked;
  if not found then
    return 0;
  end if;
  -- What there may be much of, in pieces: each is committed before the next.
  delete from fanfold.idempotency_answers a using (
      select i.request_id, i.part from fanfold.idempotency_answers i where i.tenant_id = erased limit p_most) o
   where a.tenant_id = erased and a.request_id = o.request_id and a.part = o.part;
  get diagnostics many = row_count;
  if many > 0 then return many; end if;
  delete from fanfold.idempotency_keys k using (
      select i.route, i.key from fanfold.idempotency_keys i where i.tenant_id = erased limit p_most) o
   where k.tenant_id = erased and k.route = o.route and k.key = o.key;
  get diagnostics many = row_count;
  if many > 0 then return many; end if;
  delete from fanfold.outbox m using (
      select i.id from fanfold.outbox i where i.tenant_id = erased limit p_most) o
   where m.tenant_id = erased and m.id = o.id;
  get diagnostics many = row_count;
  if many > 0 then return many; end if;
  update fanfold.audit_events e set before = null, after = null
    from (select i.id from fanfold.audit_events i
           where i.tenant_id = erased and (i.before is not null or i.after is not null) limit p_most) o
   where e.tenant_id = erased and e.id = o.id;
  get diagnostics many = row_count;
  if many > 0 then return many; end if;
  delete from fanfold.sessions s using (
      select i.id from fanfold.sessions i where i.tenant_id = erased limit p_most) o
   where s.id = o.id;
  get diagnostics many = row_count;
  if many > 0 then return many; end if;
  delete from fanfold.oauth_clients where tenant_id = erased;
  delete from fanfold.api_keys where tenant_id = erased;
  delete from fanfold.upstream_prices where tenant_id = erased;
  delete from fanfold.upstreams where tenant_id = erased;
  delete from fanfold.invitations where tenant_id = erased;
  delete from fanfold.memberships where tenant_id = erased;
  update fanfold.tenants
     set slug = 'erased:' || erased, name = '', limit_overrides = '{}', erased_at = now(), updated_at = now()
   where id = erased;
  return 1;
end
$function$
