import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createAddressGuard, isAddressRange } from '#core/egress/address-guard.ts';

const guard = createAddressGuard();

test.each([
  '8.8.8.8',
  '93.184.216.34',
  '1.1.1.1',
  '172.32.0.1',
  '192.0.1.1',
  '100.128.0.1',
  '2606:4700:4700::1111',
  '2a00:1450:4001:81b::200e',
  '::ffff:8.8.8.8',
  '::ffff:808:808',
])('%s is public', (address) => expect(guard.refusal(address)).toBeUndefined());

test.each([
  '0.0.0.0',
  '0.1.2.3',
  '10.1.2.3',
  '100.64.0.1',
  '100.127.255.255',
  '127.0.0.1',
  '127.9.9.9',
  '168.63.129.16',
  '169.254.169.254',
  '169.254.170.2',
  '100.100.100.200',
  '172.16.0.1',
  '172.17.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.0.0.192',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.1.1',
  '198.18.0.1',
  '198.51.100.7',
  '203.0.113.7',
  '224.0.0.1',
  '239.255.255.250',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::127.0.0.1',
  '::7f00:1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:10.0.0.1',
  '::ffff:0:127.0.0.1',
  '64:ff9b::7f00:1',
  '64:ff9b::808:808',
  '64:ff9b:1::7f00:1',
  '100::1',
  '2001::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '2002:808:808::1',
  '3fff::1',
  '4000::1',
  '5f00::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fe80::1%eth0',
  '2606:4700::1%25eth0',
  'fec0::1',
  'ff02::1',
  'localhost',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '127.1',
  ' 8.8.8.8',
  '8.8.8.8\n',
  '',
])('%j is refused', (address) => expect(guard.refusal(address)).toEqual(expect.any(String)));

test('every IPv4 address is judged the same however IPv6 writes it, but for the forms that are refused as such', () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
      const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
      expect(guard.refusal(`::ffff:${address}`)).toBe(guard.refusal(address));
      expect(guard.refusal(`::ffff:${hex}`)).toBe(guard.refusal(address));
      for (const form of [`::${hex}`, `64:ff9b::${hex}`, `2002:${hex}::1`]) expect(guard.refusal(form)).toBeDefined();
    }),
  );
});

test('an operator can open a range and close an address, and closed is stronger', () => {
  const own = createAddressGuard({ open: ['10.20.0.0/16', '::1'], closed: ['10.20.0.5', '8.8.8.8'] });
  expect(own.refusal('10.20.3.4')).toBeUndefined();
  expect(own.refusal('::1')).toBeUndefined();
  expect(own.refusal('::ffff:10.20.3.4')).toBeUndefined();
  expect(own.refusal('10.20.0.5')).toBe('it is closed here');
  expect(own.refusal('8.8.8.8')).toBe('it is closed here');
  expect(own.refusal('10.21.0.1')).toMatch(/private/);
});

test('the metadata services of clouds cannot be opened', () => {
  const wide = createAddressGuard({ open: ['0.0.0.0/0', '::/0'] });
  for (const address of [
    '169.254.169.254',
    '168.63.129.16',
    'fd00:ec2::254',
    '::ffff:169.254.169.254',
    '100.100.100.200',
  ]) {
    expect(wide.refusal(address)).toMatch(/metadata/);
  }
  expect(wide.refusal('127.0.0.1')).toBeUndefined();
});

test('ranges are told from what is none', () => {
  for (const text of ['10.0.0.0/8', '127.0.0.1', '::1', 'fd00::/8']) expect(isAddressRange(text)).toBe(true);
  for (const text of ['10.0.0.0/33', '10.0.0.0/', '10/8', 'host', '::1%lo', '::/129', '10.0.0.0/8/8', '']) {
    expect(isAddressRange(text)).toBe(false);
  }
  expect(() => createAddressGuard({ open: ['nonsense'] })).toThrow(RangeError);
});
