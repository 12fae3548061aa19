// A script of the page may break off on a bad line, and then nothing would ever happen. Runs before the modules do.
(function () {
  var WAIT = 2000; // ms
  addEventListener(
    "error",
    function (event) {
      if (event.target instanceof HTMLScriptElement) setTimeout(function () { location.reload(); }, WAIT);
    },
    true, // errors of loading do not bubble
  );
})();
