import { CLIENT_FORMATS, clientForm } from "../../database/client-formats.ts";
import { hostName } from "../../database/libpq.ts";
import { jsonArgument, oneOf, option } from "../arguments.ts";
import { command } from "../command.ts";
import { connectionArguments, requestedConnection } from "../connection-arguments.ts";

export const examples = [
  "aiwdb url",
  "aiwdb url --role app_readonly --mode session",
  "aiwdb url --stack prod --role ai_workflow_owner --mode direct",
  'DATABASE_URL="$(aiwdb url --format sqlalchemy)" python app.py   # a URL; also asyncpg, node-postgres, go, rust',
  "(umask 077; aiwdb url --format jdbc > hikari.properties)         # properties of a HikariCP data source",
  "(umask 077; aiwdb url --format postgres.js > database.mjs)       # a module that exports sql",
  'DATABASE="$(aiwdb url --format dotnet)" dotnet run               # a connection string for Npgsql',
  "aiwdb url --json   # host, port, database, user, password, files, and the URL in the format",
];

export default command({
  args: {
    ...connectionArguments,
    ...jsonArgument,
    format: {
      ...option("FORMAT", `For which driver: ${CLIENT_FORMATS.join(", ")}; docs/drivers.md shows how each is used`),
      alias: "f",
      default: "libpq",
    },
  },
  async run({ args, output }) {
    const format = oneOf("format", args.format, CLIENT_FORMATS);
    const connection = await requestedConnection(args, output);
    const { url, text } = clientForm(connection, format);
    const { port, database, user, password, sslRootCert, sslCert, sslKey } = connection;
    const files = { ca: sslRootCert, cert: sslCert, key: sslKey };
    output.text(text);
    output.json({ url, format, host: hostName(connection), port, database, user, password, files });
  },
});
