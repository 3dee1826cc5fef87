// The interactive description of the API: Swagger UI over /openapi.json, all of it from this service.

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  validatorUrl: null, // it would ask somebody else
  // A header takes bytes, one a character: a key's are those of UTF-8.
  requestInterceptor: (request) => {
    for (const [name, text] of Object.entries(request.headers)) {
      request.headers[name] = String.fromCharCode(...new TextEncoder().encode(text));
    }
    return request;
  },
});
