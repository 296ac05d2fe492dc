-- The look-ups that happen before the tenant is known: by what nobody can guess, whole.
create function fanfold.authenticate(p_digests bytea[])
returns table (key_id uuid, kind text, tenant_id uuid, tenant_slug text, tenant_status text, scopes text[],
               requests_per_minute integer, burst integer, max_concurrent_requests integer, limits jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
    select k.id, 'api_key', k.tenant_id, t.slug, t.status, k.scopes, k.requests_per_minute, k.burst,
           k.max_concurrent_requests, to_jsonb(p) - 'code' || t.limit_overrides
      from fanfold.api_keys k
      join fanfold.tenants t on t.id = k.tenant_id
      join fanfold.plans p on p.code = t.plan
     where (k.digest = any (p_digests) or (k.previous_digest = any (p_digests) and k.previous_until > now()))
       and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    union all
    select k.id, 'operator_key', null, null, null, array['operator'], null, null, null, null
      from fanfold.operator_keys k
     where k.digest = any (p_digests) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
$f$
