// Reads records as Confluent's client for JavaScript does: one line for each, with the value and, where the client reads
// none of that kind without Confluent's own registry, with what it takes for the schema.
const { AvroDeserializer, JsonDeserializer, SchemaId, SchemaRegistryClient, SerdeType, VALUE_SCHEMA_ID_HEADER } =
  require('@confluentinc/schemaregistry');

const { REGISTRY, KIND, TOPIC, RECORDS } = process.env;
const client = SchemaRegistryClient.newClient({ baseURLs: [REGISTRY] });
const readers = {
  avro: () => new AvroDeserializer(client, SerdeType.VALUE, {}),
  json_schema: () => new JsonDeserializer(client, SerdeType.VALUE, { validate: true, validateFormats: false }),
};

async function main() {
  for (const { value, headers } of JSON.parse(RECORDS)) {
    const bytes = Buffer.from(value, 'base64');
    const all = Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, Buffer.from(text)]));
    if (KIND === 'protobuf') {
      const id = new SchemaId('PROTOBUF');
      const read = id.fromBytes(all[VALUE_SCHEMA_ID_HEADER] ?? bytes);
      console.log(JSON.stringify({ id: id.id, indexes: id.messageIndexes, read }));
    } else {
      const read = await readers[KIND]().deserialize(TOPIC, bytes, all);
      console.log(JSON.stringify(read, (_, it) => (typeof it === 'bigint' ? Number(it) : it)));
    }
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
